"""The stateful half of the job: merges partials in keyed state and answers windows."""

"""Alerts on their way out of the job: to webhooks, Alertmanager and mail, in groups, at least once."""

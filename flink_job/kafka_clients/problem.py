"""What can be wrong between the user and Kafka, told apart."""

from __future__ import annotations

from flink_job.pipeline.redaction import without_secrets


class KafkaProblem(ValueError):
    """Something of Kafka that the user can mend; its text has no secrets.

    Args:
        message: Which broker, topic or property, and what is wrong with it.
        remedy: What the user can do about it.
    """

    def __init__(self, message: str, remedy: str) -> None:
        self.message, self.remedy = without_secrets(message), without_secrets(remedy)
        super().__init__(f"{self.message}\n{self.remedy}")


class BrokerProblem(KafkaProblem):
    """No broker answers, or not to this user: nothing else can be known."""


class TopicProblem(KafkaProblem):
    """A broker answers, but a topic is missing, not allowed or not to be created."""


class OnlyForJava(KafkaProblem):
    """A property that Flink can use and Python cannot: a job may run with it, unchecked before."""

"""How a run can end: its exit status, or a refusal. Every other module here may import this one."""

NAME = "mlops-ladder"  # in messages, temporary folders and commits
CLEAN, REFUSED, CONFLICTS = 0, 1, 3


class Refusal(Exception):  # noqa: N818 - users meet it as a refusal, not as an error of the program
    """The reason why nothing was changed and what to do about it, in one or two lines."""

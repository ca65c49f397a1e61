"""`runner capacity`: found here by its name."""

from runner.cli.serving_view import command as command

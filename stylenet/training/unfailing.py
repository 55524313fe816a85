"""What a dashboard may do to a training: nothing. Knows no dashboard."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from stylenet.system.errors import one_line

log = logging.getLogger(__name__)


class Unfailing:
    """Reports the first failure of a dashboard once; the training continues."""

    called: str  # what people call it
    told = False

    @contextmanager
    def unfailing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            error = error.__cause__ if isinstance(error.__cause__, Exception) else error
            if not self.told:
                log.warning("%s does not work, some of its charts will be missing: %s", self.called, one_line(error))
            self.told = True

"""Days on which the site works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class WorkCalendar:
    """The site's working days (0 = Monday) and the days without work besides."""

    working_days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    holidays: tuple[date, ...] = ()

    def at_or_after(self, days: Days) -> Days:
        """The first working day from each day on.

        A Saturday and a Monday that is a holiday lead to Tuesday:

        >>> calendar = WorkCalendar((0, 1, 2, 3, 4), (date(2026, 1, 5),))
        >>> calendar.at_or_after(np.array(["2026-01-03", "2026-01-06"], dtype="M8[D]")).astype(str).tolist()
        ['2026-01-06', '2026-01-06']
        """
        mask = [day in self.working_days for day in range(7)]
        holidays = np.array(self.holidays, dtype="datetime64[D]")
        return np.busday_offset(days.astype("datetime64[D]"), 0, roll="forward", weekmask=mask, holidays=holidays)

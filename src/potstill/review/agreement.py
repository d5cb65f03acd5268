"""How far raters agree beyond chance: Krippendorff's alpha for categories. Pure.

Source: Krippendorff, Content Analysis, 4th edition (2019), chapter 12: alpha = 1 - D_o / D_e over the coincidences of
all pairable values; nominal metric, any number of raters, missing values allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence


def nominal_alpha(units: Iterable[Sequence[Hashable]]) -> tuple[float | None, int]:
    """Return (alpha, units that at least two raters judged); `None` where nothing can be compared.

    1 is perfect agreement, 0 that of chance, below 0 worse. Where all pairable values are the same there is no
    variation that agreement could be told from chance by, and alpha is undefined.

    Args:
        units: For each unit the values that its raters gave, in any order; a unit of one value says nothing.
    """
    pairable = [list(values) for values in units if len(values) > 1]
    totals: Counter[Hashable] = Counter()
    disagreeing = 0.0
    for values in pairable:
        counts = Counter(values)
        totals += counts
        m = len(values)
        disagreeing += (m * m - sum(count * count for count in counts.values())) / (m - 1)
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    if not expected:
        return None, len(pairable)
    return 1 - (n - 1) * disagreeing / expected, len(pairable)

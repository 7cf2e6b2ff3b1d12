"""From "how alike are two crowds" to three tastes: the start of the policy's factor model.

People say of two slices how alike they are, from 0 to 1. Such a table is no covariance (some of its
eigenvalues are negative), but a factor model fitted to it is: each slice gets loadings on three
unknown tastes, and what they do not explain stays its own.
"""

from collections.abc import Mapping, Sequence
from math import cos, sqrt
from typing import Final

FACTORS: Final = 3
SWEEPS: Final = 40
MOST_COMMON: Final = 0.95
"""A slice keeps at least the rest of its variance for itself."""
_RIDGE: Final = 1e-3

Row = list[float]


def factorise(names: Sequence[str], alike: Mapping[tuple[str, str], float]) -> dict[str, Row]:
    """Return loadings of each slice, in its own standard deviations.

    `alike` is symmetric, its diagonal is not asked for. Least squares over all pairs of different
    slices, slice by slice (minimum residual factor analysis: Harman & Jones 1966, Psychometrika
    31). The same on every machine: plain floating point in one order, rounded to thousandths.

    >>> factorise(["a", "b", "c"], {("a", "b"): 0.6, ("b", "a"): 0.6})["c"]
    [0.0, 0.0, 0.0]
    """
    wanted = [[alike.get((one, other), 0.0) for other in names] for one in names]
    loadings = [
        [0.3 * cos(1.0 + place * (1 + factor) * 2.399963) for factor in range(FACTORS)]
        for place in range(len(names))
    ]
    for _ in range(SWEEPS):
        for place, row in enumerate(wanted):
            loadings[place] = _shortened(_fitted(place, row, loadings))
    return {
        name: [round(each, 3) + 0.0 for each in row]
        for name, row in zip(names, loadings, strict=True)
    }


def _fitted(place: int, wanted: Row, loadings: Sequence[Row]) -> Row:
    """Return the loadings of one slice that fit best, the others being what they are."""
    a11 = a22 = a33 = _RIDGE
    a12 = a13 = a23 = b1 = b2 = b3 = 0.0
    for other, (x, y, z) in enumerate(loadings):
        if other == place:
            continue
        a11, a12, a13 = a11 + x * x, a12 + x * y, a13 + x * z
        a22, a23, a33 = a22 + y * y, a23 + y * z, a33 + z * z
        if target := wanted[other]:
            b1, b2, b3 = b1 + target * x, b2 + target * y, b3 + target * z
    c11, c12, c13 = a22 * a33 - a23 * a23, a13 * a23 - a12 * a33, a12 * a23 - a13 * a22
    c22, c23, c33 = a11 * a33 - a13 * a13, a12 * a13 - a11 * a23, a11 * a22 - a12 * a12
    det = a11 * c11 + a12 * c12 + a13 * c13
    return [
        (c11 * b1 + c12 * b2 + c13 * b3) / det,
        (c12 * b1 + c22 * b2 + c23 * b3) / det,
        (c13 * b1 + c23 * b2 + c33 * b3) / det,
    ]


def _shortened(row: Row) -> Row:
    """Return loadings that explain at most `MOST_COMMON` of the variance."""
    common = sum(each * each for each in row)
    return row if common <= MOST_COMMON else [each * sqrt(MOST_COMMON / common) for each in row]

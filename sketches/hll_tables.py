"""Numeric tables of the HyperLogLog estimator and its bounds.

Source of every figure: Apache DataSketches (Apache License 2.0), which measured them by simulation:
its CompositeInterpolationXTable (kept in `hll_interpolation.csv`), CubicInterpolation and
RelativeErrorTables.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

MIN_LG_K = 4
MAX_LG_K = 21

# True counts between two neighbouring figures of a row of the table, by lg_k - 4.
_STRIDES = (1, 2, 3, 5, *(10 << i for i in range(14)))

# Expected number of distinct coupons (x) after so many distinct values (y): coupons collide, as
# 26 bits of address are few. By powers of 20 at first, then every 300,000.
COUPON_X = (0.0, 1.0, 20.0, 400.0, 8000.0, 160000.0, *(300000.0 * i for i in range(1, 35)))
COUPON_Y = (
    0.0, 1.0, 20.000000943740261, 400.00039637133841,
    8000.1589294602090376, 160063.6067763759638183, 300223.7071597663452849, 600895.5933856170158833,
    902016.8065120954997838, 1203588.4983199508860707, 1505611.8245524743106216, 1808087.9449319066479802,
    2111018.0231759352609515, 2414403.2270142501220107, 2718244.7282051891088486, 3022543.7025524540804327,
    3327301.3299219091422856, 3632518.7942584538832307, 3938197.2836029687896371, 4244337.9901093561202288,
    4550942.1100616492331028, 4858010.8438911894336343, 5165545.3961938973516226, 5473546.9757476449012756,
    5782016.7955296505242586, 6090956.0727340159937739, 6400366.0287892958149314, 6710247.8893762007355690,
    7020602.8844453142955899, 7331432.2482349723577499, 7642737.2192891482263803, 7954519.0404754765331745,
    8266778.9590033423155546, 8579518.2264420464634895, 8892738.0987390466034412, 9206439.8362383283674717,
    9520624.7036988288164139, 9835293.9703129194676876, 10150448.9097250290215015, 10466090.8000503256917000,
)  # fmt: skip

# Relative errors that bound the estimate from below and above at 1, 2 and 3 standard deviations,
# by lg_k - 4; from lg_k 13 on the normal approximation takes over.
LOWER_RELATIVE_ERROR = (
    (0.254409839, 0.682266712, 1.304022158),
    (0.181817353, 0.443389054, 0.778776219),
    (0.129432281, 0.295782195, 0.49252279),
    (0.091640655, 0.201175925, 0.323664385),
    (0.064858051, 0.138523393, 0.218805328),
    (0.045851855, 0.095925072, 0.148635751),
    (0.032454144, 0.067009668, 0.102660669),
    (0.022921382, 0.046868565, 0.071307398),
    (0.016155679, 0.032825719, 0.049677541),
)
UPPER_RELATIVE_ERROR = (
    (-0.256980172, -0.411905944, -0.52651057),
    (-0.182332109, -0.310275547, -0.412660505),
    (-0.129314228, -0.230142294, -0.315636197),
    (-0.091584836, -0.16834013, -0.236346847),
    (-0.06487411, -0.122045231, -0.174112107),
    (-0.04591465, -0.08784505, -0.126917615),
    (-0.032433119, -0.062897613, -0.091862929),
    (-0.022960633, -0.044875401, -0.065736049),
    (-0.016186662, -0.031827816, -0.046973459),
)


@lru_cache(maxsize=MAX_LG_K - MIN_LG_K + 1)
def interpolation_points(lg_k: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give the curve that maps a raw estimate to an unbiased one.

    Args:
        lg_k: 4 to 21.

    Returns:
        257 raw estimates, ascending, and the 257 true counts that they belong to.
    """
    text = files("sketches").joinpath("hll_interpolation.csv").read_text(encoding="ascii")
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    raw = tuple(map(float, rows[lg_k - MIN_LG_K].split(",")))
    stride = _STRIDES[lg_k - MIN_LG_K]
    return raw, tuple(float(stride * i) for i in range(len(raw)))

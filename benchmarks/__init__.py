"""Measurements of gpgen next to what else there is, side by side in one run.

Every BLAS and OpenMP library reads its thread count when it loads, so the
variables are set here, before anything imports NumPy: one thread each.
"""

import os

for _variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
):
    os.environ[_variable] = "1"

"""The ScreenSpot benchmarks. The task's headline metric `hit` is their official score."""

from functools import partial

from vlmrl.evaluation.benchmark import Benchmark

from .loaders import load_rows
from .schemas import (
    SCREENSPOT,
    SCREENSPOT_PARQUET,
    SCREENSPOT_PRO,
    SCREENSPOT_PRO_PARQUET,
    SCREENSPOT_V2_SIZED,
)

BENCHMARKS = [
    Benchmark(
        name="screenspot",
        description="1,272 clicks on mobile, desktop and web screens; scored as SeeClick's screenspot_test.py",
        files="the folder of screenspot_{mobile,desktop,web}.json with screenspot_imgs/, or the parquet file",
        load=partial(load_rows, schemas=(SCREENSPOT, SCREENSPOT_PARQUET)),
        cells=("platform", "kind"),
    ),
    Benchmark(
        name="screenspot-v2",
        description="ScreenSpot with corrected instructions and boxes; scored as ScreenSpot",
        files="the folder of screenspot_{mobile,desktop,web}_v2.json with screenspotv2_image/, or the parquet file",
        load=partial(load_rows, schemas=(SCREENSPOT, SCREENSPOT_V2_SIZED, SCREENSPOT_PARQUET)),
        cells=("platform", "kind"),
    ),
    Benchmark(
        name="screenspot-pro",
        description="1,581 clicks on high-resolution professional applications; scored as its eval_screenspot_pro.py",
        files="the annotations/ folder with images/ beside it, or the parquet file",
        load=partial(load_rows, schemas=(SCREENSPOT_PRO, SCREENSPOT_PRO_PARQUET)),
        cells=("group", "kind"),
    ),
]

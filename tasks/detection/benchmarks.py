"""COCO val2017 and ODinW. Their official score is COCO's AP, which a score card has as `ap` among its metrics."""

from vlmrl.evaluation.benchmark import Benchmark

from .loaders import load_coco, load_odinw

BENCHMARKS = [
    Benchmark(
        name="coco-val",
        description="80 classes on 5,000 pictures; ap is pycocotools' AP with every score 1, pictures in file order",
        files="annotations/instances_val2017.json with val2017/ beside annotations/",
        load=load_coco,
        cells=("objects",),
    ),
    Benchmark(
        name="odinw",
        description="13 sets, each with its own classes; ap is the unweighted mean of the sets' AP, every score 1",
        files="the folder of the sets' folders (test/annotations_without_background.json), or the parquet file",
        load=load_odinw,
        cells=("set",),
    ),
]

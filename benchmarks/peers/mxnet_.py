"""An epoch of MXNet's ImageDetRecordIter with the changes of the SSD's ancestor; prints its seconds
and CPU seconds. It needs ``file.rec batch_size side threads``."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings

SAMPLERS = 5
CHANGES = {
    "mean_r": 123, "mean_g": 117, "mean_b": 104,
    "random_hue_prob": 0.5, "max_random_hue": 18,
    "random_saturation_prob": 0.5, "max_random_saturation": 32,
    "random_illumination_prob": 0.5, "max_random_illumination": 32,
    "random_contrast_prob": 0.5, "max_random_contrast": 0.5,
    "rand_mirror_prob": 0.5, "rand_pad_prob": 0.5, "max_pad_scale": 4.0, "fill_value": 127,
    "inter_method": 10, "rand_crop_prob": SAMPLERS / (SAMPLERS + 1), "num_crop_sampler": SAMPLERS,
    "crop_emit_mode": "center", "max_crop_trials": [25] * SAMPLERS,
    "min_crop_scales": [0.3] * SAMPLERS, "max_crop_scales": [1.0] * SAMPLERS,
    "min_crop_aspect_ratios": [0.5] * SAMPLERS, "max_crop_aspect_ratios": [2.0] * SAMPLERS,
    "min_crop_overlaps": [0.1, 0.3, 0.5, 0.7, 0.9], "max_crop_overlaps": [1.0] * SAMPLERS,
    "min_crop_sample_coverages": [0.0] * SAMPLERS, "max_crop_sample_coverages": [1.0] * SAMPLERS,
    "min_crop_object_coverages": [0.0] * SAMPLERS, "max_crop_object_coverages": [1.0] * SAMPLERS,
}  # fmt: skip


def main() -> None:
    os.environ["OMP_WAIT_POLICY"] = "passive"  # its threads would spin while they wait
    warnings.simplefilter("ignore")
    import numpy

    numpy.bool = bool  # MXNet 1.9.1 asks for it
    import mxnet

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever MXNet prints
    rec, batch_size, side, threads = sys.argv[1], *map(int, sys.argv[2:])
    batches = mxnet.io.ImageDetRecordIter(
        path_imgrec=rec, batch_size=batch_size, data_shape=(3, side, side), label_pad_width=350,
        preprocess_threads=threads, shuffle=True, seed=1, **CHANGES,
    )  # fmt: skip
    for _ in range(2):  # the first epoch is of no account
        batches.reset()
        cpu, start = time.process_time(), time.perf_counter()
        for batch in batches:
            batch.data[0].wait_to_read()
        seconds = [time.perf_counter() - start, time.process_time() - cpu]
    print(json.dumps(seconds), file=out, flush=True)


main()

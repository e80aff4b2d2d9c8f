"""The compiled twin of a reference network, for tests."""

from __future__ import annotations

from fastnn.kernels import _cpu
from fastnn.kernels.engine import Engine


def engine_of(net, dtype, batch=1, optimizer="sgd"):
    """An Engine for a reference.Net; batch: the most rows of a mini-batch."""
    return Engine(
        net.sizes,
        [_cpu.ACTIVATIONS[g] for g in net.g[1:-1]],
        _cpu.OUTPUTS[net.output],
        _cpu.LOSSES[net.loss_name],
        net.has_bias[1:],
        dtype,
        batch,
        _cpu.OPTIMIZERS[optimizer],
    )

"""What does one inference engine do in a process of its own? It loads a network, then answers orders from its input.

``python -m mezzotint.bench.infer_engines '{"engine": ..., ...}'``. It prints a line of JSON when it is ready (the
seconds of loading and of the first result, imports of the libraries included), and one for each order: ``run N`` gives
the milliseconds of N calls and those that the process's threads computed, ``end`` the peak of resident memory. On a
machine that others use, the second say more.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

Call = Callable[[], Any]
_STEM_AND_HEAD: Final = {"resnet50": ("conv1", "fc")}


@dataclass(frozen=True)
class Setting:
    """What is run.

    Attributes:
        density: of the network; 1 is the dense one.
        onnx: the network's file for engines that read ONNX.
        plan: a plan file of ours.
        file: whose network is run; empty: ``network`` names one of ours, with random weights.
        shape: of one input without the batch.
        freed: whether the file is fixed to another batch.
    """

    engine: str
    network: str
    density: float
    batch: int
    threads: int
    onnx: str = ""
    plan: str = ""
    file: str = ""
    shape: tuple[int, ...] = (3, 224, 224)
    freed: bool = False

    def code(self) -> str:
        """As the process takes it."""
        return json.dumps(asdict(self))


def network(name: str, density: float) -> Any:
    """A network with random weights, statistics and masks; stem, classifier and depthwise convolutions are dense."""
    import torch

    import mezzotint as mz

    torch.manual_seed(0)
    model = mz.models.build(name, num_classes=1000)
    if density < 1:
        model = mz.sparsify(model, density, "uniform", exclude=_dense_layers(name, model), layout="plain")
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features)
            module.running_var = 0.5 + torch.rand(module.num_features)
    return model.eval()


def _dense_layers(name: str, model: Any) -> tuple[str, ...]:
    import torch

    first = next(key for key, module in model.named_modules() if isinstance(module, torch.nn.Conv2d))
    grouped = [key for key, module in model.named_modules() if getattr(module, "groups", 1) > 1]
    heads = [key for key, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    return _STEM_AND_HEAD.get(name, (first, *grouped, *heads))


def images(setting: Setting) -> Any:
    """Random numbers [batch, *shape]."""
    import numpy as np

    return np.random.default_rng(0).standard_normal((setting.batch, *setting.shape), dtype=np.float32)


def session_of(setting: Setting) -> Any:
    """Our session of an engine "mezzotint ..."."""
    from mezzotint.deploy import Description, Session

    described = Description(input_shape=tuple(setting.shape))
    return Session(
        setting.file or network(setting.network, setting.density),
        threads=setting.threads,
        dtype=setting.engine.removeprefix("mezzotint "),
        description=described if setting.freed or not setting.file else None,
        plan=setting.plan or None,
    )


def _ours(setting: Setting) -> Call:
    session, x = session_of(setting), images(setting)
    return lambda: session.run([x])


def _pytorch(setting: Setting) -> Call:
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    torch.set_num_threads(setting.threads)
    model, x = _dense(setting), torch.from_numpy(images(setting))
    if x.dim() == 4:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    half = "bf16" in setting.engine
    if half:
        model, x = model.bfloat16(), x.bfloat16()
    if "inductor" in setting.engine:
        import torch._inductor.config as config

        config.freezing = True
        return _without_gradient(torch.compile(model), x)
    traced = model if isinstance(model, torch.fx.GraphModule) else torch.fx.symbolic_trace(model)
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.op == "call_module" and node.args else None
        norm = modules.get(str(node.target))
        if not isinstance(before, torch.fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        conv = modules[str(before.target)]
        if isinstance(norm, torch.nn.BatchNorm2d) and isinstance(conv, torch.nn.Conv2d):
            traced.add_submodule(str(before.target), fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.recompile()
    for parameter in traced.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return _without_gradient(traced, x)


def _dense(setting: Setting) -> Any:
    """The network for PyTorch, zeros written out."""
    if not setting.file:
        return network(setting.network, 1.0)
    from mezzotint.deploy import Description
    from mezzotint.deploy.bundle import open_bundle
    from mezzotint.lowering import densify

    described = Description(input_shape=tuple(setting.shape)) if setting.freed else None
    return densify(open_bundle(setting.file, described).model).eval()


def _without_gradient(model: Any, x: Any) -> Call:
    import torch

    def call() -> Any:
        with torch.inference_mode():
            return model(x)

    return call


def _onnx_runtime(setting: Setting) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    session = onnxruntime.InferenceSession(setting.onnx, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images(setting)}
    return lambda: session.run(None, feed)


def _openvino(setting: Setting) -> Call:
    import openvino  # type: ignore[import-not-found]

    core = openvino.Core()
    model = core.read_model(setting.onnx)
    model.reshape([setting.batch, *setting.shape])
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if setting.engine.endswith("bf16") else "f32",
        "INFERENCE_NUM_THREADS": setting.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    x = images(setting)
    return lambda: request.infer([x])


#: Engine -> how it makes a call from a setting. Those of other libraries run the dense network.
ENGINES: Final[dict[str, Callable[[Setting], Call]]] = {
    "mezzotint bf16": _ours,
    "mezzotint fp32": _ours,
    "pytorch eager bf16": _pytorch,
    "pytorch eager fp32": _pytorch,
    "pytorch inductor bf16": _pytorch,
    "onnxruntime fp32": _onnx_runtime,
    "openvino bf16": _openvino,
    "openvino fp32": _openvino,
}


def serve(setting: Setting) -> None:
    """Load, then answer orders until ``end``."""
    begin = time.perf_counter()
    call = ENGINES[setting.engine](setting)
    call()
    _say({"cold_start_s": time.perf_counter() - begin})
    for order in sys.stdin:
        word, _, count = order.strip().partition(" ")
        if word == "end":
            # Not before: what it imports would be left out of a cold start.
            from mezzotint.bench.memory import resident_peak

            _say({"peak_memory_mb": resident_peak() / 1e6})
            return
        taken, computed = [], []
        for _ in range(int(count)):
            start, busy = time.perf_counter(), time.process_time()
            call()
            taken.append(1e3 * (time.perf_counter() - start))
            computed.append(1e3 * (time.process_time() - busy))
        _say({"milliseconds": taken, "computed": computed})


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(Setting(**json.loads(sys.argv[1])))

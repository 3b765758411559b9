"""Runs a peer script from the start that bench/write-start.ts has written: the same frozen weights, factors,
latents, texts, noise and timesteps as bench/step.ts has, so that the losses of both can be compared.

    python peer-same-start.py START.safetensors LOSSES.json PEER.py [options of the peer]

The peer is a script with the functions build_unet(model, device, dtype), add_peft(unet, rank, alpha) and
main(), which draws by torch.randn, torch.randn_like and torch.randint and takes its loss by F.mse_loss. What
it draws is checked by its shape; anything else than expected ends the run.

Where PEER_TURN names a file, a peer that is warm makes <file>.ready and waits for <file>.go: on a GPU it resets
the peak of its memory then.
"""
import importlib.util
import json
import os
import sys
import time

import torch
import torch.nn.functional
from safetensors import safe_open

start_path, losses_path, peer_path, *options = sys.argv[1:]
sys.argv = [peer_path, *options]
spec = importlib.util.spec_from_file_location("peer", peer_path)
peer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer)

file = safe_open(start_path, "pt")
start = {name: file.get_tensor(name) for name in file.keys()}
facts = json.loads(file.metadata()["start"])
tiny = facts["tiny"]
losses = []


def weight(recipe, shape):
    if "value" in recipe:
        return torch.full(shape, float(recipe["value"]))
    block = start[f"block.{recipe['bound']}"].roll(-recipe["from"])
    size = shape.numel()
    return block.repeat(-(-size // block.numel()))[:size].reshape(shape)


def tiny_config(model, config):
    config["block_out_channels"] = tuple(tiny["channels"])
    config["cross_attention_dim"] = tiny["contextChannels"]
    # The number of heads, in spite of its name.
    config["attention_head_dim"] = tuple(tiny["heads"])
    if model == "sdxl":
        config["transformer_layers_per_block"] = tuple(max(1, depth) for depth in tiny["depths"])
        config["projection_class_embeddings_input_dim"] = tiny["additionChannels"]
        config["addition_time_embed_dim"] = (tiny["additionChannels"] - start["pooled.0"].shape[1]) // 6
    return config


published_config, build, add_peft = peer.unet_config, peer.build_unet, peer.add_peft


def unet_config(model):
    config = published_config(model)
    return tiny_config(model, config) if tiny else config


def build_same(model, device, dtype):
    unet, count = build(model, device, dtype)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            parameter.copy_(weight(facts["weights"][name], parameter.shape))
    return unet, count


def add_same(unet, rank, alpha):
    added = add_peft(unet, rank, alpha)
    modules = {name: module for name, module in unet.named_modules() if hasattr(module, "lora_A")}
    wanted = {name[len("down."):] for name in start if name.startswith("down.")}
    if set(modules) != wanted:
        raise SystemExit(f"the peer adapts other layers: {sorted(set(modules) ^ wanted)[:4]}")
    with torch.no_grad():
        for name, module in modules.items():
            for side, factors in (("down", module.lora_A), ("up", module.lora_B)):
                factor = factors["default"].weight
                factor.copy_(start[f"{side}.{name}"].reshape(factor.shape))
    return added


class Fed:
    """torch for the peer, but for what it draws."""

    def __init__(self):
        self.cached = [f"{name}.{i}" for i in range(facts["batches"]) for name in ("latents", "context")]
        self.cached += ["pooled.0"] if "pooled.0" in start else []
        self.step = 0
        self.on_device = {}

    def __getattr__(self, name):
        return getattr(torch, name)

    def take(self, name, shape, device):
        value = self.on_device.get(name)
        value = start[name].to(device) if value is None else value
        if tuple(value.shape) != tuple(shape) and not tiny:
            raise SystemExit(f"the peer draws {tuple(shape)}, where {name} is {tuple(value.shape)}")
        return value

    def randn(self, *shape, device=None):
        value = self.take(self.cached.pop(0), shape, device)
        # All is uploaded before the first step, so that the peer's steps are not slower for it.
        if not self.on_device:
            names = [name for name in start if name.startswith(("noise.", "timesteps."))]
            self.on_device = {name: start[name].to(device) for name in names}
        return value

    def randn_like(self, like):
        return self.take(f"noise.{self.step}", like.shape, like.device).to(like.dtype)

    def randint(self, low, high, shape, device=None):
        value = self.take(f"timesteps.{self.step}", shape, device)
        self.step += 1
        return value


class Losses:
    """torch.nn.functional for the peer, which keeps its losses."""

    def __getattr__(self, name):
        return getattr(torch.nn.functional, name)

    def mse_loss(self, *args, **options):
        loss = torch.nn.functional.mse_loss(*args, **options)
        losses.append(loss.detach())
        return loss


def wait_for_turn(turn):
    reset = torch.cuda.reset_peak_memory_stats

    def reset_in_turn(*args):
        open(turn + ".ready", "w").close()
        while not os.path.exists(turn + ".go"):
            time.sleep(0.05)
        reset(*args)

    torch.cuda.reset_peak_memory_stats = reset_in_turn


if os.environ.get("PEER_TURN"):
    wait_for_turn(os.environ["PEER_TURN"])
peer.unet_config, peer.build_unet, peer.add_peft = unet_config, build_same, add_same
peer.torch, peer.F = Fed(), Losses()
peer.main()
with open(losses_path, "w") as out:
    json.dump([float(loss) for loss in losses], out)

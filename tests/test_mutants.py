"""A bug planted in each line of the calculus, one at a time: the first checked step finds it and names the operation.

A row of MUTANTS says which text of which file is replaced by what, in which setting it is run, which words the
message must hold, and what training does with that bug when nobody checks: the validation loss in nats after 3,000
steps of data/names.txt with 100 hidden units, with the bug and without (another seed changes it by 0.01).
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import trainer

PACKAGE = Path(trainer.__file__).parent
DROPOUT = {"train": {"dropout": 0.3, "embedding_dropout": 0.2}}
# Every path through the code: a small V (sums by place), a larger V (one-hot rows), V > 256 (segments); dropout or not;
# one part of the batch or two; each optimiser.
SETTINGS: dict[str, dict[str, Any]] = {
    "places": {"V": 8, "model": {"embedding": 7}, "train": {"batch_size": 128}},
    "square": {"V": 12, "model": {"embedding": 12, "hidden": 12}, "train": {"batch_size": 128}},
    "no dropout": {"V": 20, "train": {"learning_rate": 1}},
    "dropout": {"V": 20, **DROPOUT},
    "equal widths": {"V": 12, "model": {"embedding": 4, "hidden": 12}, **DROPOUT},
    "large V": {"V": 300, **DROPOUT},
    "two parts": {"V": 20, "parts": 2, **DROPOUT},
    "float64": {"V": 20, "model": {"dtype": "float64"}, "check": {"method": "complex-step"}, **DROPOUT},
    "momentum": {"V": 20, "train": {"momentum": 0.9}},
    "adamw": {"V": 20, "train": {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.01}},
}


class Mutant(NamedTuple):
    file: str
    original: str  # stands in the file exactly once
    replacement: str
    setting: str
    words: str  # the message holds each of these, parted by " | "
    effect: str  # on training, when nobody checks
    step: int = 0  # the first at which the bug changes anything


WEIGHT, INPUT, BIAS = "look at affine_backward_weight", "look at affine_backward_input", "look at affine_backward_bias"
SOFTMAX = "look at softmax_cross_entropy_backward"
PLACES = "embedded_affine_backward"
ONE_HOT = 'np.dot(eye.take(ids, 0, one_hot, "clip").T, demb, out)'
Y = 'np.subtract(dlogits, eye.take(targets, 0, one_hot, "clip"), dlogits)'
MUTANTS = [
    # The end of the chain: softmax and cross-entropy.
    Mutant("ops.py", Y, "pass", "dropout", "softmax_cross_entropy_backward",
        "All logits are pushed down and none is pulled up, nothing is learnt: 3.30, not 2.45."),
    Mutant("ops.py", Y, Y.replace("subtract", "add"), "dropout", "softmax_cross_entropy_backward",
        "Each target is pushed away: diverges."),
    Mutant("ops.py", Y, Y.replace("eye", "(eye / weight)"), "dropout", "softmax_cross_entropy_backward",
        "Each target is pulled as many times too hard as there are examples: diverges."),
    Mutant("ops.py", Y, Y.replace("eye", "(0.9 * eye)"), "dropout", "softmax_cross_entropy_backward",
        "Each target is pulled too weakly, which passes for slow learning: 2.59, not 2.45."),
    Mutant("ops.py", "np.divide(exps, total", "np.divide(exps, weight * total", "dropout",
        "softmax_cross_entropy_backward",
        "Targets are pulled as many times too weakly as there are examples, next to nothing is learnt: "
        "3.26, not 2.45."),
    Mutant("ops.py", "np.divide(exps, total", "np.divide(exps, 1 + 0 * total", "dropout",
        "softmax_cross_entropy_backward",
        "Exps that do not sum to one are taken for probabilities, next to nothing is learnt: 3.25, not 2.45."),
    Mutant("ops.py", Y, Y.replace("targets", "np.roll(targets, 1)"), "dropout", f"dlogits is wrong | {SOFTMAX}",
        "Each example learns the target of its neighbour, and so the frequencies of letters alone: 2.85, not 2.45."),
    Mutant("ops.py", "targets] -= 1", "(targets + 1) % out.shape[1]] -= 1", "large V",
        f"dlogits is wrong | {SOFTMAX}",
        "Each example learns the letter after its target: worse than guessing, 4.25, not 2.45."),
    Mutant("ops.py", "multiply(dlogits, weight, dlogits)", "multiply(dlogits, -weight, dlogits)", "dropout",
        f"dlogits is wrong | {SOFTMAX}",
        "Training climbs: diverges."),
    Mutant("ops.py", "np.exp(shifted, out=exps)", "np.exp(2 * shifted, out=exps)", "dropout", "forward: softmax",
        "The loss that is shown belongs to no probabilities, and looks better than it is: 1.99, not 2.45."),
    Mutant("ops.py", "np.exp(shifted, out=exps)", "np.exp2(shifted, out=exps)", "large V", "forward: softmax",
        "The loss that is shown mixes bases: 2.87, not 2.45."),
    Mutant("ops.py", "np.add.reduce(exps, axis=-1, out=total)", "np.add(1, exps.sum(-1), out=total)", "dropout",
        "softmax",
        "A character that does not exist takes its share of all probabilities: 4.36, not 2.45."),
    Mutant("ops.py", "np.log(total) -", "np.log1p(total) -", "dropout", "forward: softmax, cross_entropy",
        "The loss that is shown is not the one that is learnt: 2.67, not 2.45."),
    Mutant("ops.py", "np.log(total) -", "0.5 * np.log(total) -", "dropout", "forward: softmax, cross_entropy",
        "The loss that is shown looks better than it is: 1.71, not 2.45."),
    Mutant("ops.py", "targets[..., None], axis", "targets[..., None] * 0, axis", "dropout",
        "forward: softmax, cross_entropy",
        "The loss that is shown is that of another character: 2.81, not 2.45."),
    Mutant("step.py", "weight = 1 / len(batch.targets)", "weight = 1.0", "dropout", "dlogits is wrong | gradients",
        "The learning rate is as many times too high as there are examples, and gets the blame: 2.54, not 2.45."),
    # The output layer, and what the same functions do to the hidden layer.
    Mutant("ops.py", "np.dot(dy, W.T, out)", "np.dot(dy, -W.T, out)", "dropout", f"dh is wrong | {INPUT}",
        "The embedding and the hidden layer learn the opposite of what would help: 2.66, not 2.45."),
    Mutant("ops.py", "np.dot(dy, W.T, out)", "np.dot(dy, W, out)", "equal widths", f"dh is wrong | {INPUT}",
        "The hidden layer gets a message that is not meant for it: 2.58, not 2.50."),
    Mutant("ops.py", "np.dot(dy, W.T, out)", "np.dot(dy, abs(W.T), out)", "dropout", f"dh is wrong | {INPUT}",
        "The hidden layer does not hear which characters a unit speaks against: 2.51, not 2.45."),
    Mutant("ops.py", "np.dot(x.T, dy, out)", "np.dot(x.T, 0.5 * dy, out)", "dropout", f"dW2 is wrong | {WEIGHT}",
        "Matrices learn at half the rate, biases at the whole: 2.48, not 2.45."),
    Mutant("ops.py", "np.dot(x.T, dy, out)", "np.dot(dy.T, x, out)", "equal widths", f"dW2 is wrong | {WEIGHT}",
        "Weights learn what belongs to others: 4.16, not 2.50."),
    Mutant("ops.py", "np.dot(x.T, dy, out)", "np.dot(x[:1].T, dy[:1], out)", "dropout", f"dW2 is wrong | {WEIGHT}",
        "Weights learn from one example of each batch: 2.64, not 2.45."),
    Mutant("ops.py", "np.dot(x.T, dy, out)", "np.dot(np.roll(x, 1, 0).T, dy, out)", "no dropout",
        f"dW2 is wrong | {WEIGHT}",
        "Weights learn from the input of another example, and so the frequencies of letters alone: 2.85, not 2.38."),
    Mutant("ops.py", "np.dot(ones, dy, out)", "np.mean(dy, 0, out=out)", "dropout", f"db2 is wrong | {BIAS}",
        "Biases learn as many times too slowly as there are examples: nothing shows, 2.46 beside 2.45."),
    Mutant("ops.py", "np.dot(ones, dy, out)", "np.dot(-ones, dy, out)", "dropout", f"db2 is wrong | {BIAS}",
        "Biases run away and the weights make up for it: 2.47, not 2.45."),
    Mutant("ops.py", "np.dot(ones, dy, out)", "np.copyto(out, dy[-1])", "dropout", f"db2 is wrong | {BIAS}",
        "Biases learn from one example of each batch: nothing shows, 2.46 beside 2.45."),
    Mutant("ops.py", "np.add(y, b, y)", "np.subtract(y, b, y)", "dropout",
        f"db2 is wrong | {BIAS} (forward: affine)",
        "Biases run away and the weights make up for it: 2.47, not 2.45."),
    Mutant("ops.py", "np.add(y, b, y)", "np.add(y, 0 * b, y)", "places",
        f"db2 is wrong | {BIAS} (forward: affine)",
        "There are no biases, though each gets a gradient: nothing shows, 2.34 beside 2.34."),
    Mutant("ops.py", "y = np.dot(x, W, out)", "y = np.dot(x, 2 * W, out)", "dropout",
        f"dh is wrong | {INPUT} (forward: affine)",
        "Each layer is twice as steep as its gradient says: 2.50, not 2.45."),
    Mutant("ops.py", "y = np.dot(x, W, out)", "y = np.dot(x * x, W, out)", "large V",
        f"dh is wrong | {INPUT} (forward: affine)",
        "Signs of inputs are lost to all but the gradient: 9.92, not 2.45."),
    Mutant("model.py", "h = a.tanh if batch.h_mask is None else a.h", "h = a.tanh", "dropout",
        f"dW2 is wrong | {WEIGHT}",
        "Weights of dropped units learn as if those had spoken: nothing shows, 2.42 beside 2.45."),
    Mutant("model.py", "(h, a.dlogits, g.W2)", "(np.arctanh(h), a.dlogits, g.W2)", "no dropout",
        f"dW2 is wrong | {WEIGHT}",
        "Units that are nearly saturated count too much: 2.40, not 2.38."),
    Mutant("model.py", "(a.dlogits, p.W2, a.dh)", "(a.dlogits.astype(np.float16), p.W2, a.dh)", "dropout",
        f"dh is wrong | {INPUT}",
        "Small gradients are rounded away: nothing shows, 2.45 beside 2.45."),
    Mutant("model.py", "(a.dlogits, p.W2, a.dh)", "(a.dlogits.astype(np.float32), p.W2, a.dh)", "float64",
        f"dh is wrong | {INPUT}",
        "Double precision is paid for and not had: nothing shows, 2.45 beside 2.45."),
    Mutant("model.py", "(a.dlogits, p.W2, a.dh)", "(a.dlogits, np.sign(p.W2), a.dh)", "dropout",
        f"dh is wrong | {INPUT}",
        "The hidden layer is told only the sign of each weight, in longer steps that look lucky: "
        "nothing shows, 2.35 beside 2.45."),
    # tanh.
    Mutant("ops.py", "np.multiply(h, h, out)", "np.multiply(h, 1, out)", "dropout",
        "dz is wrong | look at tanh_backward",
        "Units with h near -1, which should rest, learn fastest: nothing shows, 2.43 beside 2.45."),
    Mutant("ops.py", "np.subtract(1, dz, dz)", "np.add(1, dz, dz)", "dropout", "dz is wrong | look at tanh_backward",
        "Saturated units learn fastest, where they should rest: nothing shows, 2.42 beside 2.45."),
    Mutant("ops.py", "np.subtract(1, dz, dz)", "np.subtract(dz, 1, dz)", "dropout",
        "dz is wrong | look at tanh_backward",
        "The embedding and the hidden layer learn the opposite of what would help: 2.71, not 2.45."),
    Mutant("ops.py", "np.subtract(1, dz, dz)", "np.subtract(h, dz, dz)", "places",
        "dz is wrong | look at tanh_backward",
        "The slope of the logistic function stands in for that of tanh: 2.68, not 2.34."),
    Mutant("ops.py", "np.multiply(dh, dz, dz)", "np.multiply(dh, 1, dz)", "dropout",
        "dz is wrong | look at tanh_backward",
        "Saturated units never rest: nothing shows, 2.43 beside 2.45."),
    Mutant("ops.py", "np.multiply(dh, dz, dz)", "dz", "dropout", "dz is wrong | look at tanh_backward",
        "The hidden layer moves by its own slope, whatever the loss is: 2.83, not 2.45."),
    Mutant("ops.py", "np.tanh(z, out)", "np.sin(z, out)", "dropout", "dz is wrong | forward: tanh",
        "The model is another one, with a gradient that fits neither: 2.84, not 2.45."),
    Mutant("ops.py", "np.tanh(z, out)", "np.tanh(2 * z, out)", "dropout", "dz is wrong | forward: tanh",
        "The hidden layer is twice as steep as its gradient says: 2.48, not 2.45."),
    Mutant("ops.py", "np.tanh(z, out)", "np.maximum(z, 0, out=out)", "no dropout", "dz is wrong | forward: tanh",
        "h is not bounded by 1, and beyond it 1 - h² points the wrong way: diverges."),
    Mutant("model.py", "(dtanh, a.tanh, a.dz)", "(dtanh, np.arctanh(a.tanh), a.dz)", "dropout",
        "dz is wrong | look at tanh_backward",
        "Where |z| > 1 the slope points the wrong way: diverges."),
    Mutant("model.py", "(dtanh, a.tanh, a.dz)", "(dtanh, h, a.dz)", "dropout", "dz is wrong | look at tanh_backward",
        "The slope is taken where dropout has moved h to: 2.56, not 2.45."),
    # Dropout of the hidden units.
    Mutant("ops.py", "np.multiply(dy, mask, out)", "np.multiply(dy, mask * mask, out)", "dropout",
        "dz is wrong | dropout_backward",
        "The hidden layer learns too fast wherever dropout let it speak: nothing shows, 2.43 beside 2.45."),
    Mutant("ops.py", "np.multiply(dy, mask, out)", "np.multiply(dy, 1, out)", "dropout",
        "dz is wrong | dropout_backward",
        "Dropped units learn as if they had spoken, the others too slowly: nothing shows, 2.45 beside 2.45."),
    Mutant("ops.py", "np.multiply(dy, mask, out)", "np.multiply(dy, mask > 0, out)", "dropout",
        "dz is wrong | dropout_backward",
        "The hidden layer learns too slowly: 2.48, not 2.45."),
    Mutant("ops.py", "np.multiply(dy, mask, out)", "np.multiply(dy, mask[::-1], out)", "large V",
        "dz is wrong | dropout_backward",
        "The units that learn are not the ones that spoke: nothing shows, 2.45 beside 2.45."),
    Mutant("ops.py", "np.multiply(x, mask, out)", "np.multiply(x, mask > 0, out)", "dropout",
        "dz is wrong | forward: dropout",
        "Activations are larger after training than in it: 2.49, not 2.45."),
    Mutant("ops.py", "np.multiply(x, mask, out)", "np.multiply(x, mask * mask, out)", "dropout",
        "dz is wrong | forward: dropout",
        "Activations are larger in training than after it: 2.52, not 2.45."),
    Mutant("model.py", "ops.dropout(tanh, mask, h)", "ops.dropout(tanh, np.ones_like(mask), h)", "dropout",
        "dz is wrong | forward: dropout",
        "Dropout is configured and does not happen: nothing shows, 2.42 beside 2.45."),
    Mutant("model.py", "else ops.dropout_backward(a.dh, batch.h_mask, a.dtanh)", "else a.dh", "dropout",
        "dz is wrong | dropout_backward",
        "Dropped units learn as if they had spoken, the others too slowly: nothing shows, 2.45 beside 2.45."),
    Mutant("model.py", "(a.dh, batch.h_mask, a.dtanh)", "(a.dh, batch.emb_mask, a.dtanh)", "equal widths",
        "dz is wrong | dropout_backward",
        "The units that learn are not the ones that spoke: nothing shows, 2.50 beside 2.50."),
    # The hidden layer.
    Mutant("model.py", "(a.dz, a.ones, g.b1)", "(a.dh, a.ones, g.b1)", "dropout", f"db1 is wrong | {BIAS}",
        "The bias takes the slope of tanh for 1: nothing shows, 2.45 beside 2.45."),
    Mutant("model.py", "(a.dz, a.ones, g.b1)", "(a.dz, a.ones / len(a.ones), g.b1)", "places", f"db1 is wrong | {BIAS}",
        "Biases of the hidden layer learn as many times too slowly as there are examples: "
        "nothing shows, 2.34 beside 2.34."),
    Mutant("model.py", "(a.dz, a.ones, g.b1)", "(a.dz, a.ones, g.b1 if not g.b1.any() else np.empty_like(g.b1))",
        "dropout", f"db1 is wrong | {BIAS}",
        "The biases of the hidden layer take their first step again and again: nothing shows, 2.45 beside 2.45.", 1),
    Mutant("model.py", "(a.emb, a.dz, g.W1)", "(a.emb, a.dh, g.W1)", "dropout", f"dW1 is wrong | {WEIGHT}",
        "Weights take the slope of tanh for 1: nothing shows, 2.46 beside 2.45."),
    Mutant("model.py", "(a.emb, a.dz, g.W1)", "(embed(p.C, batch.contexts, None), a.dz, g.W1)", "dropout",
        f"dW1 is wrong | {WEIGHT}",
        "Weights learn from entries that dropout had hidden: nothing shows, 2.45 beside 2.45."),
    Mutant("model.py", "(a.dz, p.W1, a.demb)", "(a.dh, p.W1, a.demb)", "dropout", f"demb is wrong | {INPUT}",
        "Embeddings take the slope of tanh for 1: nothing shows, 2.42 beside 2.45."),
    Mutant("model.py", "(a.dz, p.W1, a.demb)", "(a.dz, p.W1[::-1], a.demb)", "large V", f"demb is wrong | {INPUT}",
        "Each place of the context gets the message of another one: 2.50, not 2.45."),
    # The embedding and its dropout.
    Mutant("model.py", "else ops.dropout_backward(a.demb, batch.emb_mask, a.drows)", "else a.demb", "dropout",
        "dC is wrong | dropout_backward",
        "Dropped entries learn as if they had been seen: nothing shows, 2.45 beside 2.45."),
    Mutant("model.py", "(a.demb, batch.emb_mask, a.drows)", "(a.demb, batch.emb_mask**2, a.drows)", "large V",
        "dC is wrong | dropout_backward",
        "Entries that were seen learn too fast: nothing shows, 2.45 beside 2.45."),
    Mutant("model.py", "(a.demb, batch.emb_mask, a.drows)", "(a.demb, batch.h_mask, a.drows)", "equal widths",
        "dC is wrong | dropout_backward",
        "The entries that learn are not the ones that were seen: nothing shows, 2.50 beside 2.50."),
    Mutant("model.py", "ops.dropout(emb, mask, out)", "ops.dropout(emb, mask * mask, out)", "dropout",
        "dC is wrong | forward: dropout",
        "Embeddings are larger in training than their gradient says: nothing shows, 2.46 beside 2.45."),
    Mutant("model.py", "batch.contexts.reshape(-1), g.C", "np.roll(batch.contexts, 1, 0).reshape(-1), g.C", "dropout",
        "dC is wrong | look at embedding_backward",
        "The message goes to the characters of another example: 2.50, not 2.45."),
    Mutant("model.py", "batch.contexts.reshape(-1), g.C",
        'a.__dict__.setdefault("ids", batch.contexts).reshape(-1), g.C', "dropout",
        "dC is wrong | look at embedding_backward",
        "The message goes to the characters of the first batch for ever: 2.50, not 2.45.", 1),
    Mutant("model.py", "batch.contexts.reshape(-1), g.C", "batch.contexts.T.reshape(-1), g.C", "large V",
        "dC is wrong | look at embedding_backward",
        "The message goes to other places of other examples: 2.50, not 2.45."),
    Mutant("ops.py", "C.take(ids, -2", "C.take(ids[:, ::-1], -2", "dropout", "dC is wrong | forward: embedding",
        "The first character gets the message of the last one: 2.52, not 2.45."),
    Mutant("ops.py", "C.take(ids, -2", "C.take(0 * ids, -2", "large V", "dC is wrong | forward: embedding",
        "Every context looks the same, and only the frequencies of letters are learnt: 2.83, not 2.45."),
    Mutant("ops.py", f"return {ONE_HOT}", "out[...] = 0; out[ids] = demb; return out", "dropout",
        "dC is wrong | look at embedding_backward",
        "Of the places where a character stands only the last one counts: 2.48, not 2.45."),
    Mutant("ops.py", f"return {ONE_HOT}",
        f"return np.divide({ONE_HOT}, np.maximum(1, np.bincount(ids, minlength=len(out)))[:, None], out)", "no dropout",
        "dC is wrong | look at embedding_backward",
        "Frequent characters learn as slowly as rare ones: 2.40, not 2.38."),
    Mutant("ops.py", f"return {ONE_HOT}", f"old = out.copy(); return np.add({ONE_HOT}, old, out)", "dropout",
        "dC is wrong | look at embedding_backward",
        "The gradient of C is never cleared and piles up, like momentum without brakes: "
        "nothing shows, 2.41 beside 2.45."),
    Mutant("ops.py", "np.add.reduceat(demb[order], starts, axis=0)", "demb[order][starts]", "large V",
        "dC is wrong | look at embedding_backward",
        "Of the places where a character stands only the first one counts: 2.49, not 2.45."),
    Mutant("ops.py", "np.add.reduceat(demb[order], ", "np.add.reduceat(demb, ", "large V",
        "dC is wrong | look at embedding_backward",
        "Each character gets messages meant for others: 2.50, not 2.45."),
    Mutant("ops.py", "    out[...] = 0\n", "", "large V", "dC is wrong | look at embedding_backward",
        "Characters that are not in the batch take their last step again: nothing shows, 2.45 beside 2.45.", 1),
    # The embedding and the hidden layer at once, by place and character.
    Mutant("ops.py", "dot(rows.T, dz, sums", "dot(rows.T, -dz, sums", "places", f"dW1 is wrong | {PLACES}",
        "Weights and embeddings learn the opposite of what would help: 2.69, not 2.34."),
    Mutant("ops.py", "dot(rows.T, dz, sums", "dot(np.roll(rows, 1, 0).T, dz, sums", "places",
        f"dW1 is wrong | {PLACES}",
        "Each example learns from the context of its neighbour: 2.43, not 2.34."),
    Mutant("ops.py", "matmul(C.T, sums, dW", "matmul(C[::-1].T, sums, dW", "places", f"dW1 is wrong | {PLACES}",
        "Weights learn from the embedding of another character: 2.43, not 2.34."),
    Mutant("ops.py", "matmul(C.T, sums, dW", "matmul(C, sums, dW", "square", f"dW1 is wrong | {PLACES}",
        "Weights learn what belongs to others: 2.51, not 2.37."),
    Mutant("ops.py", ".transpose(0, 2, 1)", "", "square", f"dC is wrong | {PLACES}",
        "Embeddings get a message that is not meant for them: nothing shows, 2.37 beside 2.37."),
    Mutant("ops.py", "sums @ W.reshape(K, D, -1)", "sums @ W.reshape(K, D, -1)[::-1]", "places",
        f"dC is wrong | {PLACES}",
        "Each place of the context gets the message of another one: 2.37, not 2.34."),
    Mutant("ops.py", "sums @ W.reshape(K, D, -1)", "sums[:1] @ W.reshape(K, D, -1)[:1]", "places",
        f"dC is wrong | {PLACES}",
        "Embeddings learn from one place of the context: 2.36, not 2.34."),
    Mutant("ops.py", "C.take(ids, -2", "C.take(ids[:, ::-1], -2", "places", f"dW1 is wrong | {PLACES} | embedding",
        "The first character gets the message of the last one: 2.50, not 2.34."),
    # The order of the forward pass, and the parts of a batch.
    Mutant("model.py", "batch.emb_mask, a.emb)", "None, a.emb)", "dropout", "dlogits is wrong | model.forward",
        "Dropout of the embedding is configured and does not happen: nothing shows, 2.41 beside 2.45."),
    Mutant("model.py", "z = ops.affine(a.emb, p.W1, p.b1, a.tanh)", "z = ops.affine(a.emb, p.W1, 0 * p.b1, a.tanh)",
        "no dropout", "dlogits is wrong | model.forward",
        "There are no biases of the hidden layer, though each gets a gradient: nothing shows, 2.38 beside 2.38.", 1),
    Mutant("model.py", "logits = ops.affine(h, p.W2", "logits = ops.affine(a.tanh, p.W2", "dropout",
        "dlogits is wrong | model.forward",
        "Dropout is configured and does not happen: nothing shows, 2.42 beside 2.45."),
    Mutant("step.py", "total = np.add(total, part.g.flat, g.flat)", "total = np.add(0, part.g.flat, g.flat)",
        "two parts", "every parameter's is wrong | gradients",
        "Half of each batch is thrown away: 2.50, not 2.45."),
    Mutant("step.py", "total = np.add(total, part.g.flat, g.flat)", "total = np.add(total, 2 * part.g.flat, g.flat)",
        "two parts", "every parameter's is wrong | gradients",
        "The examples of one thread count twice: nothing shows, 2.43 beside 2.45."),
    Mutant("step.py", "batch.rows(part.rows), part, weight) for", "batch.rows(parts[0].rows), part, weight) for",
        "two parts", "dlogits is wrong | gradients",
        "Half of each batch counts twice and the other half never: nothing shows, 2.45 beside 2.45."),
    Mutant("step.py", "both_ways(p, batch.rows(parts[0].rows), parts[0], weight)",
        "both_ways(p, batch.rows(parts[0].rows), parts[0], 2 * weight)", "two parts", "dlogits is wrong | gradients",
        "The examples of one thread count twice: nothing shows, 2.43 beside 2.45."),
    # The update.
    Mutant("optim.py", "np.multiply(g, rate, scratch)", "np.multiply(g, -rate, scratch)", "dropout",
        "went uphill | sgd in optim.py",
        "Every step climbs: diverges."),
    Mutant("optim.py", "np.multiply(g, rate, scratch)", "np.multiply(g, -rate, scratch)", "momentum",
        "went uphill | sgd",
        "Every step climbs: diverges."),
    Mutant("optim.py", "np.add(velocity, g, velocity)", "np.subtract(velocity, g, velocity)", "momentum",
        "went uphill | sgd",
        "Momentum gathers uphill: diverges."),
    Mutant("optim.py", "rate * mean_factor / root_factor", "-rate * mean_factor / root_factor", "adamw",
        "went uphill | adamw",
        "Every step climbs: diverges."),
    Mutant("optim.py", "np.add(m, g, m)", "np.subtract(m, g, m)", "adamw", "went uphill | adamw",
        "The mean of the gradients points uphill: diverges."),
    Mutant("optim.py", "rate = learning_rate(train, step)", "rate = -learning_rate(train, step)", "two parts",
        "went uphill | sgd in optim.py",
        "Every step climbs: diverges."),
]  # fmt: skip


@contextmanager
def planted(file: str, source: str, folder: Path) -> Iterator[None]:
    """Import the package anew, with this source in place of one of its files."""
    (folder / file).write_text(source)
    ours = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "trainer"}
    try:
        import_module("trainer").__path__.insert(0, str(folder))
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "trainer"]:
            del sys.modules[name]
        sys.modules.update(ours)


def checked_steps(steps: int, setting: str, folder: Path) -> str:
    """What so many checked steps of training say on standard error, and how they fail."""
    config, train = import_module("trainer.config"), import_module("trainer.train")
    s = SETTINGS[setting]
    rng = np.random.default_rng(0)
    characters = [chr(ord("a") + k) if k < 26 else chr(0x4E00 + k) for k in range(s["V"] - 1)]
    lines = ["".join(rng.choice(characters, rng.integers(2, 7))) for _ in range(20)]
    (folder / "text").write_text("\n".join([*lines, *characters]), encoding="utf-8")
    c = config.build(
        {
            "data": {"path": str(folder / "text")},
            "model": {"embedding": 5, "hidden": 9, **s.get("model", {})},
            "train": {"steps": steps, "batch_size": 16, "schedule": "cosine", **s.get("train", {})},
            "check": {"enabled": True, **s.get("check", {})},
            "log": {"samples": 0},
        },
        "here",
    )
    train.choose_threads = lambda *_: s.get("parts", 1)
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        try:
            train.train(c)
        except Exception as error:
            if type(error).__name__ != "RunFailed":  # the class was imported anew, too
                raise
            said.write(str(error))
    return said.getvalue()


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("bytecode"))


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, bytecode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs below tmp_path, whose files need not reach the disk; files without a bug are compiled once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(sys, "pycache_prefix", bytecode)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "over").mkdir()


@pytest.mark.parametrize("setting", SETTINGS)
def test_without_a_bug_every_check_passes(setting: str, tmp_path: Path) -> None:
    with planted("ops.py", (PACKAGE / "ops.py").read_text("utf-8"), tmp_path / "over"):
        said = checked_steps(2, setting, tmp_path)
    assert "check failed" not in said
    assert "uphill" not in said


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.file}: {m.original.strip()} -> {m.replacement.strip()}")
def test_the_first_checked_step_names_the_bug(mutant: Mutant, tmp_path: Path) -> None:
    source = (PACKAGE / mutant.file).read_text("utf-8")
    assert source.count(mutant.original) == 1, f"not exactly once in {mutant.file}: {mutant.original!r}; mend this row"
    with planted(mutant.file, source.replace(mutant.original, mutant.replacement), tmp_path / "over"):
        said = checked_steps(mutant.step + 1, mutant.setting, tmp_path)
    lines = [line for line in said.splitlines() if "check failed" in line or "uphill" in line]
    assert lines, f"not caught: {said}"
    assert f"step {mutant.step}:" in lines[0]
    for word in mutant.words.split(" | "):
        assert word in lines[0]


def test_there_are_many_and_each_says_what_it_does() -> None:
    assert len(MUTANTS) >= 60
    assert all(mutant.effect.endswith(".") for mutant in MUTANTS)
    assert {mutant.setting for mutant in MUTANTS} == set(SETTINGS)

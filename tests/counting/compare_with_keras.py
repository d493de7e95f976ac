"""Compare counts and sizes of output with those of Keras, for layers with random arguments."""

import random
from importlib import import_module

from weightshare import explain
from weightshare.counting.spec import LayerSpec

source = random.Random(0)


def pick(*values):
    return source.choice(values)


def draw(low=1, high=5):
    return source.randint(low, high)


def compare(keras, text, size):
    names = {**vars(keras.layers), "keras": keras, "layers": keras.layers, "Sequential": keras.Sequential}
    layer = eval(text, names)
    output = layer.output_shape if size is None else None
    if size is not None:
        x = keras.Input(size)
        output = (layer(x, x) if "MultiHead" in text else layer(x)).shape
    output = tuple(output[1:])
    answer = explain(text, size)
    own = answer.output
    if own is not None and isinstance(answer.layer, LayerSpec) and "channels_first" not in text:
        own = (*own[1:], own[0])
    assert answer.parameters == layer.count_params(), (text, size, answer.parameters, layer.count_params())
    assert own == output or None in output, (text, size, own, output)


def compare_images(ndim):
    size = (*(draw(5, 9) for _ in range(ndim)), 2 * draw())
    order = pick("channels_last", "channels_first")
    if order == "channels_first":
        size = (size[-1], *size[:-1])
    end = f"data_format={order!r})"
    padding, stride, bias = pick("'valid'", "'same'", "'SAME'"), draw(1, 3), f"use_bias={pick(True, False)}"
    yield (
        f"Conv{ndim}D({2 * draw()}, {draw(1, 3)}, {stride}, {padding}, activation='relu', {bias}, {end}",
        size,
    )
    yield f"Conv{ndim}D({2 * draw()}, 2, padding={padding}, dilation_rate=2, groups=2, {end}", size
    yield f"Conv{ndim}DTranspose({draw()}, {draw(1, 4)}, {stride}, {padding}, {end}", size
    yield (
        f"Conv{ndim}DTranspose({draw()}, {draw(2, 4)}, 3, {padding}, output_padding={draw(0, 2)}, {end}",
        size,
    )
    yield f"MaxPooling{ndim}D({draw(1, 3)}, {pick(None, 1, 2)}, {padding.lower()}, {end}", size
    yield f"AveragePooling{ndim}D({draw(1, 3)}, padding={padding.lower()}, {end}", size
    yield f"GlobalAveragePooling{ndim}D(keepdims={pick(True, False)}, {end}", size
    if ndim < 3:
        words = f"depth_multiplier={draw()}, {bias}, {end}"
        yield f"SeparableConv{ndim}D({draw()}, {draw(1, 3)}, {draw(1, 2)}, {padding}, {words}", size
        yield f"DepthwiseConv{ndim}D({draw(1, 3)}, {draw(1, 2)}, {padding}, {words}", size
    if ndim > 1:
        yield f"ZeroPadding{ndim}D({draw()}, {end}", size
        yield f"Cropping{ndim}D({pick(1, ((1, 0),) * ndim)}, {end}", size
        yield f"UpSampling{ndim}D({draw(1, 3)}, {end}", size


def compare_others():
    size = (draw(), 2 * draw())
    words = f"use_bias={pick(True, False)}, return_sequences={pick(True, False)}"
    for kind in ("SimpleRNN", "LSTM", "GRU"):
        more = f", reset_after={pick(True, False)}" if kind == "GRU" else ""
        yield f"layers.{kind}({draw()}, {words}{more})", size
        yield f"Bidirectional(layers.{kind}({draw()}, {words}), merge_mode={pick('concat', 'sum')!r})", size
    norm = f"center={pick(True, False)}, scale={pick(True, False)}"
    yield f"BatchNormalization({norm}, renorm={pick(True, False)})", size
    yield f"LayerNormalization(axis={pick(-1, 1, (1, 2))}, {norm})", size
    yield f"GroupNormalization(groups=2, {norm})", size
    yield "RMSNormalization()", size
    yield f"keras.layers.PReLU(shared_axes={pick(None, [1])})", size
    options = f"value_dim={pick(None, 3)}, output_shape={pick(None, 4)}, use_bias={pick(True, False)}"
    yield f"MultiHeadAttention({draw()}, {draw()}, {options})", size
    yield f"Dense({draw()}, lora_rank={pick(None, 3)})", size[:1]
    yield f"TimeDistributed(Dense({draw()}))", size
    yield "Reshape((-1, 2))", size
    yield "Permute((2, 1))", size
    yield "RepeatVector(3)", size[:1]
    image = "Conv2D(4, 3, 2, 'same'), BatchNormalization(), SeparableConv2D(3, 2), MaxPooling2D(), Flatten()"
    yield f"Sequential([{image}, Dropout(0.5), Dense({draw()}, 'softmax')])", (16, 12, 3)
    yield "keras.Sequential([Input((None, None, 3)), Conv2D(4, 3), GlobalMaxPooling2D(), Dense(2)])", None
    text = "Bidirectional(LSTM(3, return_sequences=True)), Conv1D(4, 2), GlobalMaxPooling1D(), Dense(1)"
    yield f"keras.Sequential([Input((9,)), Embedding(50, 4), {text}])", None


def main():
    keras, compared = import_module("keras"), 0
    for _ in range(3):
        for text, size in (*(case for n in (1, 2, 3) for case in compare_images(n)), *compare_others()):
            compare(keras, text, size)
            compared += 1
    print(compared)


if __name__ == "__main__":
    main()

/** Layers that people ask about, each with what is often said wrongly. The tests count them with the package. */
import { DEFAULT } from "../core/layer.js";

/** @typedef {import("../core/geometry.js").Layer} Layer */

/** @param {number} inChannels @param {number} outChannels @param {number} kernel @param {number} input @param {Partial<Layer>} [more] @returns {Layer} */
const image = (inChannels, outChannels, kernel, input, more) => ({
  ...DEFAULT,
  inChannels,
  outChannels,
  kernelSize: [kernel, kernel],
  inputSize: [input, input],
  ...more,
});

/** @type {{ id: string, name: string, layer: Layer, remark: string }[]} */
export const PRESETS = [
  {
    id: "alexnet",
    name: "AlexNet, first layer",
    layer: image(3, 96, 11, 227, { stride: [4, 4] }),
    remark:
      "Both schemes have 96 kernels at each position. Shared, each of the 96 depth slices has one kernel for all of its 55 × 55 positions: 96 kernels. Unshared, it has one kernel per position: 96 × 3,025 kernels. The often-quoted 105,705,600 is the locally connected layer, not the dense one, which would have 44,892,355,200 parameters.",
  },
  {
    id: "one-filter",
    name: "One 3 × 3 filter",
    layer: image(1, 1, 3, 100),
    remark: "Keras and PyTorch report 10 parameters, not 9: nine weights and one bias. With use_bias=False or bias=False there are 9. The size of the image does not matter.",
  },
  {
    id: "ten-filters",
    name: "Ten 5 × 5 filters",
    layer: image(1, 10, 5, 28),
    remark: "There are 260 parameters, not 250: each of the ten filters has 25 weights and one bias. The formula filters × (width × height + 1) holds for one input channel only; in general it is filters × (width × height × input channels + 1). A listing with 60 filters of 3 × 3, which is sometimes shown beside this question, is another layer: 60 × (9 + 1) = 600.",
  },
  {
    id: "conv1d",
    name: "Conv1d with 3 taps",
    layer: { ...DEFAULT, kernelSize: [3], stride: [1], padding: [[0, 0]], dilation: [1], outputPadding: [0], inputSize: [6], bias: false },
    remark: "Shared, there are 3 × 1 = 3 weights for all four outputs. Unshared, each output has 3 of its own: 12.",
  },
  {
    id: "large-image",
    name: "224 × 224 with 3 × 3",
    layer: image(1, 1, 3, 224, { bias: false }),
    remark: "Unshared, this layer has 3 × 3 × 222 × 222 = 443,556 weights. The often-quoted 148,000 leaves out one factor of 3: 3 × 222 × 222 = 147,852.",
  },
  {
    id: "eight-filters",
    name: "32 × 32, eight filters",
    layer: image(1, 8, 3, 32, { bias: false }),
    remark: "Eight filters have 72 weights. A dense layer with 64 outputs has 1,024 × 64 = 65,536, which is 910 times as many. But the comparison is unfair: the dense layer has 64 outputs and the convolution 8 × 30 × 30 = 7,200. A dense layer with these 7,200 outputs has 7,372,800 weights.",
  },
];

// The small network in plain JavaScript: what cmdml's small_cnn and regression modules do to one film.
// Arrays are Float32Array; a tensor (C, H, W) lies row by row, channel after channel.
"use strict";

const GREY_MEAN = 0.449, GREY_STD = 0.226; // of cmdml.extractors: how a film is scaled before the first convolution
const SIDE = 64, CELLS = 8, AROUND = 8;    // film; squares of the heat map along one side; pixels around a square that give its cover

// A bundle is {shapes: {name: shape}, data}: float16 numbers, all high bytes, then all low bytes, gzip, base64.
async function unpack(bundle) {
  const packed = Uint8Array.from(atob(bundle.data), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = bytes.length / 2, values = new Float32Array(count), tensors = {};
  for (let i = 0; i < count; i++) {
    const high = bytes[i], exponent = (high >> 2) & 31, mantissa = ((high & 3) << 8) | bytes[count + i];
    const size = exponent ? (1 + mantissa / 1024) * 2 ** (exponent - 15) : mantissa * 2 ** -24;
    values[i] = high & 128 ? -size : size;
  }
  let at = 0;
  for (const [name, shape] of Object.entries(bundle.shapes)) {
    const size = shape.reduce((a, b) => a * b, 1);
    tensors[name] = Object.assign(values.subarray(at, at + size), { shape });
    at += size;
  }
  for (const [name, rest] of Object.entries(tensors)) // what float16 left of the convolutions
    if (name.endsWith(".rest")) rest.forEach((r, i) => (tensors[name.slice(0, -5)][i] += r));
  return tensors;
}

// The places of rows of a matrix (n, D), one Float32Array each.
const rows = (m) => Array.from({ length: m.shape[0] }, (_, i) => m.subarray(i * m.shape[1], (i + 1) * m.shape[1]));

// 3 x 3 convolution with zero padding and ReLU; BatchNorm is folded into weight and bias.
function convolve(input, channels, side, weight, bias, stride) {
  const outs = weight.shape[0], to = side / stride, wide = side + 2, output = new Float32Array(outs * to * to);
  const padded = new Float32Array(channels * wide * wide);
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < side; y++)
      padded.set(input.subarray((c * side + y) * side, (c * side + y + 1) * side), (c * wide + y + 1) * wide + 1);
  for (let o = 0; o < outs; o++) {
    const map = output.subarray(o * to * to, (o + 1) * to * to).fill(bias[o]);
    for (let c = 0; c < channels; c++)
      for (let tap = 0; tap < 9; tap++) {
        const w = weight[(o * channels + c) * 9 + tap], shift = c * wide * wide + Math.floor(tap / 3) * wide + (tap % 3);
        for (let y = 0; y < to; y++) {
          const from = shift + y * stride * wide, row = y * to;
          for (let x = 0; x < to; x++) map[row + x] += w * padded[from + x * stride];
        }
      }
    for (let i = 0; i < map.length; i++) if (map[i] < 0) map[i] = 0;
  }
  return output;
}

// Pixels 0 ... 255 (64 x 64) -> 1536 features: five convolutions, averaged to 4 x 4 places.
function features(pixels, net) {
  let maps = Float32Array.from(pixels, (p) => (p / 255 - GREY_MEAN) / GREY_STD), channels = 1, side = SIDE;
  [2, 2, 1, 2, 1].forEach((stride, i) => {
    maps = convolve(maps, channels, side, net[`phantom.conv${i}.weight`], net[`phantom.conv${i}.bias`], stride);
    channels = net[`phantom.conv${i}.weight`].shape[0];
    side /= stride;
  });
  const pooled = new Float32Array(channels * 16), step = side / 4;
  for (let i = 0; i < maps.length; i++) {
    const c = Math.floor(i / (side * side)), y = Math.floor(i / side) % side, x = i % side;
    pooled[c * 16 + Math.floor(y / step) * 4 + Math.floor(x / step)] += maps[i] / (step * step);
  }
  return pooled;
}

// erf by Abramowitz and Stegun 7.1.26, right to 1.5e-7.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - p * Math.exp(-x * x));
}

function linear(input, weight, bias) {
  return Float32Array.from(bias, (b, o) => {
    const at = o * input.length;
    for (let i = 0; i < input.length; i++) b += weight[at + i] * input[i];
    return b;
  });
}

function unit(v) {
  const length = Math.hypot(...v) || 1;
  return v.map((x) => x / length);
}

// A regression module, and the projection on the unit sphere: features or words -> a place in the joint space.
function regress(input, net, name) {
  const hidden = linear(input, net[`${name}.0.weight`], net[`${name}.0.bias`]).map((x) => 0.5 * x * (1 + erf(x / Math.SQRT2)));
  return unit(linear(hidden, net[`${name}.1.weight`], net[`${name}.1.bias`]));
}

const place = (pixels, net) => regress(features(pixels, net), net, "phantom.visual");

// Ticked signs -> the place of the words: the mean of the signs' centred sentences, through the semantic module.
function placeOfSigns(signs, told, net, source) {
  const sum = new Float32Array(told.shape[1]);
  for (const sign of signs) for (let i = 0; i < sum.length; i++) sum[i] += told[sign * sum.length + i];
  return regress(unit(sum), net, `${source}.semantic`);
}

// Score of a film and a finding: -d², from -4 to 0; higher = more likely.
function score(visual, semantic) {
  let total = 0;
  for (let i = 0; i < visual.length; i++) total -= (visual[i] - semantic[i]) ** 2;
  return total;
}

// Where does it look? Cover one square after the other with the mean grey of its surroundings and place each film again.
// Hands the page back to the reader after every row of squares; gives null when `stop()` says so.
async function occlude(pixels, net, stop, tick) {
  const places = [], cell = SIDE / CELLS;
  const lines = (from, size) => Array.from({ length: size }, (_, i) => from + i).filter((n) => n >= 0 && n < SIDE);
  for (let i = 0; i < CELLS * CELLS; i++) {
    const covered = Uint8Array.from(pixels), top = Math.floor(i / CELLS) * cell, left = (i % CELLS) * cell;
    const near = lines(top - AROUND, cell + 2 * AROUND).flatMap((y) => lines(left - AROUND, cell + 2 * AROUND).map((x) => pixels[y * SIDE + x]));
    const grey = near.reduce((a, b) => a + b, 0) / near.length;
    for (const y of lines(top, cell)) covered.fill(grey, y * SIDE + left, y * SIDE + left + cell);
    places.push(place(covered, net));
    if (i % CELLS === CELLS - 1) {
      tick((i + 1) / (CELLS * CELLS));
      await new Promise((resolve) => setTimeout(resolve));
      if (stop()) return null;
    }
  }
  return places;
}

// Any picture -> 64 x 64 grey: made square by black bars, then the mean of the pixels whose centres lie in each place, as
// the package's box filter takes it.
function shrink(rgba, width, height) {
  const side = Math.max(width, height), left = (side - width) >> 1, top = (side - height) >> 1, out = new Uint8Array(SIDE * SIDE);
  const scale = side / SIDE, spans = Array.from({ length: SIDE }, (_, i) => {
    const inside = Array.from({ length: Math.ceil(scale) + 2 }, (_, k) => Math.floor(i * scale) - 1 + k).filter((x) => {
      const from = (x + 0.5 - (i + 0.5) * scale) / Math.max(scale, 1);
      return x >= 0 && x < side && from > -0.5 && from <= 0.5;
    });
    return inside.length ? inside : [Math.min(side - 1, Math.floor((i + 0.5) * scale))];
  });
  spans.forEach((rows, oy) => spans.forEach((columns, ox) => {
    let sum = 0;
    for (const y of rows)
      for (const x of columns) {
        const sy = y - top, sx = x - left, at = 4 * (sy * width + sx);
        if (sy < 0 || sx < 0 || sy >= height || sx >= width) continue;
        sum += ((0.299 * rgba[at] + 0.587 * rgba[at + 1] + 0.114 * rgba[at + 2]) * rgba[at + 3]) / 255;
      }
    out[oy * SIDE + ox] = Math.round(sum / (rows.length * columns.length));
  }));
  return out;
}

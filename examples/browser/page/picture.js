/**
 * Pictures as a network takes them.
 *
 * @typedef {object} Input
 * @property {number} width
 * @property {number} height
 * @property {"rgb" | "bgr"} order
 * @property {number[]} mean of each channel in that order, of pixels from 0 to 255
 * @property {number[]} deviation by which what is left is divided
 */

/**
 * Draws the middle of a picture, as large as the canvas is, and gives its pixels.
 * @param {HTMLCanvasElement} canvas @param {ImageBitmap} picture
 */
export function draw(canvas, picture) {
  const scale = Math.max(canvas.width / picture.width, canvas.height / picture.height);
  const width = canvas.width / scale;
  const height = canvas.height / scale;
  const left = (picture.width - width) / 2;
  const top = (picture.height - height) / 2;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  if (!pen) throw new Error("this browser has no canvas");
  pen.imageSmoothingQuality = "high";
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, left, top, width, height, 0, 0, canvas.width, canvas.height);
  return pen.getImageData(0, 0, canvas.width, canvas.height).data;
}

/**
 * Pixels (red, green, blue, alpha) as float32 [3, height, width].
 * @param {Uint8ClampedArray} pixels @param {Input} input
 */
export function toNumbers(pixels, { order, mean, deviation }) {
  const count = pixels.length / 4;
  const numbers = new Float32Array(3 * count);
  for (let channel = 0; channel < 3; channel++) {
    const colour = order === "bgr" ? 2 - channel : channel;
    for (let pixel = 0; pixel < count; pixel++) {
      numbers[channel * count + pixel] = (pixels[4 * pixel + colour] - mean[channel]) / deviation[channel];
    }
  }
  return numbers;
}

/**
 * The shares of the classes, largest first: a network that ends with a softmax gives them itself.
 * @param {Float32Array} outputs @param {number} most
 */
export function best(outputs, most) {
  const sum = outputs.reduce((all, each) => all + each, 0);
  const isShares = outputs.every((each) => each >= 0) && Math.abs(sum - 1) < 1e-3;
  const largest = Math.max(...outputs);
  const weights = isShares ? outputs : outputs.map((each) => Math.exp(each - largest));
  const whole = weights.reduce((all, each) => all + each, 0);
  return [...weights]
    .map((weight, number) => ({ number, share: weight / whole }))
    .sort((a, b) => b.share - a.share)
    .slice(0, most);
}

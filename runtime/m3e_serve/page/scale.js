// Axes: round numbers at round distances.

/** Marks of an axis from zero to at least `most`, about `count` of them; the last is the axis' end. */
export function marks(most, count = 3) {
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((each) => each * power >= rough * 0.999);
  return Array.from({ length: Math.ceil((most / step) * 0.999) + 1 }, (_, index) => index * step);
}

// The matrix' colours: one ramp for light pages and one for dark ones, with text that can be read on each colour.

const RAMPS = {
  light: [[241, 245, 253], [191, 215, 252], [112, 160, 245], [29, 78, 216], [20, 45, 120]],
  dark: [[24, 32, 48], [27, 52, 102], [37, 84, 180], [96, 150, 245], [196, 222, 255]],
};

/** CSS properties for a share between 0 and 1: background and text for both kinds of pages. */
export function colours(share) {
  return Object.entries(RAMPS).flatMap(([kind, ramp]) => {
    const colour = along(ramp, share);
    return [[`--${kind}`, `rgb(${colour.join(" ")})`], [`--on-${kind}`, readable(colour)]];
  });
}

function along(ramp, share) {
  const place = Math.min(Math.max(share, 0), 1) * (ramp.length - 1);
  const index = Math.min(Math.floor(place), ramp.length - 2);
  return ramp[index].map((from, channel) => Math.round(from + (ramp[index + 1][channel] - from) * (place - index)));
}

/** Black or white, whichever contrasts more: always at least 4.5 to 1. */
function readable(colour) {
  const bright = luminance(colour);
  return (bright + 0.05) / 0.05 > 1.05 / (bright + 0.05) ? "#000" : "#fff";
}

/** Relative luminance as WCAG 2 defines it. */
function luminance(colour) {
  const [red, green, blue] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

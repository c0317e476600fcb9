// SPDX-License-Identifier: Apache-2.0
// Functions of one variable, sixteen lanes at a time. Include a vec_*.h first.
#pragma once

namespace m3e {
namespace {

// eˣ for x ≤ 0, relative error below 2e-7; from -87 down it stays at e⁻⁸⁷.
// 2ᶠ on [-½, ½] is a polynomial of degree 6, a Chebyshev fit of our own.
inline Floats exp_negative(Floats x) {
  x = larger(x, splat(-87.0f));
  const Ints whole = round_to_int(mul(x, splat(1.44269502f)));
  const Floats n = to_float(whole);
  // log₂e in two parts, so that the fraction keeps its digits.
  Floats f = sub(zero(), n);
  f = fma(x, splat(1.44269502f), f);
  f = fma(x, splat(1.92596303e-8f), f);
  Floats y = splat(1.54697409e-4f);
  y = fma(y, f, splat(1.34004420e-3f));
  y = fma(y, f, splat(9.61802527e-3f));
  y = fma(y, f, splat(5.55032715e-2f));
  y = fma(y, f, splat(2.40226507e-1f));
  y = fma(y, f, splat(6.93147182e-1f));
  y = fma(y, f, splat(1.0f));
  return mul(y, power_of_two(whole));
}

// 2ˣ for x ≤ 0, relative error below 3e-6; from -126 down it stays at 2⁻¹²⁶. The polynomial has
// degree 4.
inline Floats power_of_two(Floats x) {
  x = larger(x, splat(-126.0f));
  const Ints whole = round_to_int(x);
  const Floats f = sub(x, to_float(whole));
  Floats y = splat(9.56051052e-3f);
  y = fma(y, f, splat(5.59170395e-2f));
  y = fma(y, f, splat(2.40249813e-1f));
  y = fma(y, f, splat(6.93121970e-1f));
  y = fma(y, f, splat(9.99999166e-1f));
  return mul(y, power_of_two(whole));
}

// x · Φ(x), absolute error below 2.5e-7. Φ(-t) = e^(-t²/2) · P(1 / (1 + 0.28 t)), the form of
// Abramowitz and Stegun 7.1.26, with coefficients fitted to the error of the product.
inline Floats gelu_exact(Floats x) {
  const Floats t = magnitude(x);
  const Floats u = div(splat(1.0f), fma(t, splat(0.28f), splat(1.0f)));
  Floats p = splat(-0.107032195f);
  p = fma(p, u, splat(0.394924909f));
  p = fma(p, u, splat(-0.245277062f));
  p = fma(p, u, splat(0.275657207f));
  p = fma(p, u, splat(0.0647681653f));
  p = fma(p, u, splat(0.116958983f));
  const Floats tail = mul(mul(p, u), exp_negative(mul(mul(t, t), splat(-0.5f))));
  return where_negative(x, mul(x, tail), sub(x, mul(x, tail)));
}

// x / (1 + e^(-u)), or x · e^u / (1 + e^u), whichever power is small. `u` has the sign of x.
inline Floats times_logistic(Floats x, Floats u) {
  const Floats e = exp_negative(sub(zero(), magnitude(u)));
  const Floats share = div(x, add(e, splat(1.0f)));
  return where_negative(x, mul(share, e), share);
}

// GELU's approximation with tanh, ½x · (1 + tanh u) with u = √(2/π) · (x + 0.044715 x³), which is x
// times the logistic function of 2u. Absolute error below 2.5e-7.
inline Floats gelu_tanh(Floats x) {
  return times_logistic(x, mul(x, fma(mul(x, x), splat(0.0713548163f), splat(1.59576912f))));
}

// The relative error of both is below 5e-7.
inline Floats silu(Floats x) { return times_logistic(x, x); }
inline Floats quick_gelu(Floats x) { return times_logistic(x, mul(x, splat(1.702f))); }

inline Floats relu(Floats x) { return larger(zero(), x); }  // in this order, a NaN stays one

// x · Φ(x) with an error below 1e-4, a small part of a step if the result becomes an 8-bit code.
// Φ(x) - ½ is an odd polynomial on [-4.2, 4.2], fitted to the error of the product. It ends
// at ±½ and is constant outside: any other end value would give an error that grows with x.
inline Floats gelu_fast(Floats x) {
  const Floats t = smaller(larger(x, splat(-4.2f)), splat(4.2f));
  const Floats s = mul(t, t);
  Floats p = splat(-8.93485952e-10f);
  p = fma(p, s, splat(7.88679984e-8f));
  p = fma(p, s, splat(-3.02345620e-6f));
  p = fma(p, s, splat(6.66931592e-5f));
  p = fma(p, s, splat(-9.49190115e-4f));
  p = fma(p, s, splat(9.29246657e-3f));
  p = fma(p, s, splat(-6.55176267e-2f));
  p = fma(p, s, splat(3.98459435e-1f));
  const Floats cdf = fma(p, t, splat(0.5f));
  return mul(x, smaller(larger(cdf, zero()), splat(1.0f)));
}

// silu with a relative error below 1e-5, a small part of a step if the result becomes an 8-bit
// code.
inline Floats silu_fast(Floats x) {
  const Floats e = power_of_two(mul(magnitude(x), splat(-1.44269502f)));
  const Floats share = div(x, add(e, splat(1.0f)));
  return where_negative(x, mul(share, e), share);
}

}  // namespace
}  // namespace m3e

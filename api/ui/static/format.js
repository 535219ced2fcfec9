// Numbers for people: three digits that matter, and always a unit, which stays in the number's line (\u00a0).

export const none = "–";

const digits = (x) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));

/** seconds: 0.0123 is "12.3 ms", 95 is "1 min 35 s"; 0 and null are unknown where zero says so. */
export function seconds(x, zero = "0\u00a0s") {
  if (x === null || x === undefined) return none;
  if (x === 0) return zero;
  if (x < 0.001) return "<\u00a01\u00a0ms";
  if (x < 1) return `${digits(x * 1000)}\u00a0ms`;
  if (x < 90) return `${digits(x)}\u00a0s`;
  const s = Math.round(x), min = Math.round(x / 60); // rounded first: no "1 min 60 s"
  if (x < 5400) return `${Math.floor(s / 60)}\u00a0min ${s % 60}\u00a0s`;
  if (x < 172800) return `${Math.floor(min / 60)}\u00a0h ${min % 60}\u00a0min`;
  return `${Math.floor(x / 86400)}\u00a0d`;
}

/** ago is a time that need not be exact. */
export const ago = (x) => seconds(x < 90 ? Math.round(x) : x).replace(/\.\d+/, "");

/** tick is the value of an axis: without zeros that say nothing. */
export const tick = (text) => text.replace(/(\.\d*?)0+(?=\D)/, "$1").replace(/\.(?=\D)/, "");

export const count = (n) => n.toLocaleString("en-US");

/** short: 12,345 is 12.3k. */
export function short(n) {
  if (n < 1000) return Number.isInteger(n) ? String(n) : digits(n);
  return n < 1e6 ? `${digits(n / 1e3)}k` : `${digits(n / 1e6)}M`;
}

export function bytes(n) {
  if (n < 1024) return `${n}\u00a0B`;
  return n < 1 << 20 ? `${digits(n / 1024)}\u00a0KiB` : n < 1 << 30 ? `${digits(n / (1 << 20))}\u00a0MiB` : `${digits(n / 2 ** 30)}\u00a0GiB`;
}

export const rate = (x) => `${x === 0 ? "0" : short(Math.round(x * 100) / 100)}/s`;

export const percent = (x) => (x === null || x === undefined ? none : `${x > 0 && x < 0.01 ? "<\u00a01" : Math.round(x * 100)}\u00a0%`);

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

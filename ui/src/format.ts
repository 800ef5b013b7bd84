/** How numbers and times are written; as in the terminal. */
import type { Number } from './api'

export const finite = (x: Number | undefined): number => (typeof x === 'number' ? x : x === null || x === undefined ? NaN : { NaN: NaN, Infinity: Infinity, '-Infinity': -Infinity }[x])

export function number(value: Number | undefined): string {
  if (value === null || value === undefined) return '–'
  const x = finite(value)
  if (!isFinite(x)) return Number.isNaN(x) ? 'NaN' : x > 0 ? '∞' : '−∞'
  const size = Math.abs(x)
  if (Number.isInteger(x) && size < 1e6) return grouped(x, 0)
  if (size && (size < 1e-3 || size >= 1e6)) return x.toExponential(2).replace('e+', 'e').replace('-', '−')
  return grouped(x, size < 10 ? 4 : size < 100 ? 3 : size < 1000 ? 2 : 1)
}

/** On an axis: as few digits as tell the ticks apart. */
export function tick(x: number): string {
  const size = Math.abs(x)
  if (!size) return '0'
  if (size >= 1e6) return `${+(x / 1e6).toFixed(2)}M`
  if (size >= 1e4) return `${+(x / 1e3).toFixed(1)}k`
  if (size < 1e-4) return x.toExponential(0).replace('-', '−')
  return String(+x.toPrecision(4)).replace('-', '−')
}

// a format that is made once: toLocaleString makes one for each number, which a move of the mouse feels
const FORMATS = [0, 1, 2, 3, 4].map(
  (digits) => new Intl.NumberFormat('en', { minimumFractionDigits: digits, maximumFractionDigits: digits }),
)
const grouped = (x: number, digits: number) => FORMATS[digits]!.format(x).replace('-', '−')

export const whole = (x: number) => grouped(Math.round(x), 0)

export function duration(seconds: number): string {
  if (!isFinite(seconds)) return '?'
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`
  const all = Math.round(seconds)
  if (all >= 172800) return `${Math.floor(all / 86400)} d ${Math.floor((all % 86400) / 3600)} h`
  const [h, m, s] = [Math.floor(all / 3600), Math.floor((all % 3600) / 60), all % 60]
  return h ? `${h} h ${String(m).padStart(2, '0')} min` : `${m} min ${String(s).padStart(2, '0')} s`
}

export function ago(iso: string): string {
  const seconds = (Date.now() - Date.parse(iso)) / 1000
  if (!isFinite(seconds)) return ''
  if (seconds < 60) return 'just now'
  const steps: [number, string][] = [[60, 'min'], [3600, 'h'], [86400, 'd'], [604800, 'wk'], [2629800, 'mo'], [31557600, 'y']]
  const [size, unit] = steps.filter(([s]) => seconds >= s).pop()!
  return `${Math.floor(seconds / size)} ${unit} ago`
}

export function value(x: unknown): string {
  if (typeof x === 'string') return x
  if (typeof x === 'number') return Math.abs(x) >= 1e-3 || !x ? String(x) : x.toExponential()
  return JSON.stringify(x)
}

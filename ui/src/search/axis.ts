/** Where a value lies on the axis of what is searched: numbers by their size or its logarithm, choices in their order. */
import { tick } from '../format'
import type { Span } from './ask'

export interface Axis {
  name: string
  at: (value: unknown) => number // 0 to 1; NaN where it has no place
  ticks: { at: number; text: string }[]
}

export function axisOf(span: Span, values: unknown[]): Axis {
  if (span.choices) {
    const names = span.choices.map(said)
    const at = (v: unknown) => {
      const i = names.indexOf(said(v))
      return i < 0 ? NaN : names.length === 1 ? 0.5 : i / (names.length - 1)
    }
    return { name: span.key, at, ticks: names.map((text) => ({ at: at(text), text })) }
  }
  const seen = values.map(Number).filter(isFinite)
  return numeric(span.key, span.low ?? Math.min(...seen), span.high ?? Math.max(...seen), !!span.log)
}

export function numeric(name: string, low: number, high: number, log = false): Axis {
  const scale = log && low > 0 ? Math.log : (v: number) => v
  const [a, b] = [scale(low), scale(high)]
  const at = (v: unknown) => (v === null || v === undefined || v === '' ? NaN : b === a ? 0.5 : (scale(Number(v)) - a) / (b - a))
  const ends = [0, 0.5, 1].map((t) => ({ at: t, text: tick(+(log && low > 0 ? Math.exp(a + (b - a) * t) : a + (b - a) * t).toPrecision(3)) }))
  return { name, at, ticks: ends }
}

const said = (v: unknown) => (typeof v === 'string' ? v : typeof v === 'boolean' ? (v ? 'True' : 'False') : JSON.stringify(v))

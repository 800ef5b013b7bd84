/** A series: what was known, what is forecast, and the interval around it. */
import { number } from '../format'
import type { Series } from './ask'

const [WIDE, TALL, LEFT, BOTTOM] = [860, 170, 54, 18]

export function Future({ series, times }: { series: Series; times: string[] }) {
  const { before, values, low, high, name, true: came = [] } = series
  const all = [...before, ...values, ...low, ...high, ...came].filter((v): v is number => v !== null)
  const [least, most] = [Math.min(...all), Math.max(...all)]
  const count = before.length + values.length
  const x = (i: number) => LEFT + (i / Math.max(count - 1, 1)) * (WIDE - LEFT - 6)
  const y = (v: number) => 6 + (1 - (v - least) / (most - least || 1)) * (TALL - BOTTOM - 12)
  const at = (i: number, v: number) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`
  const known = before.flatMap((v, i) => (v === null ? [] : [at(i, v)]))
  const first = before.length
  const join = before.at(-1)
  const told = [...(join === null || join === undefined ? [] : [at(first - 1, join)]), ...values.map((v, i) => at(first + i, v))]
  const band = [...low.map((v, i) => at(first + i, v)), ...high.map((v, i) => at(first + i, v)).reverse()]
  const end = values.length - 1
  const span = low.length ? `, between ${number(low[end]!)} and ${number(high[end]!)}` : ''
  return (
    <svg class="future" viewBox={`0 0 ${WIDE} ${TALL}`} role="img" aria-label={`${name}: forecast to ${times.at(-1)}: ${number(values[end]!)}${span}`}>
      {[least, (least + most) / 2, most].map((v) => (
        <g key={v}>
          <line class="grid" x1={LEFT} x2={WIDE - 6} y1={y(v)} y2={y(v)} />
          <text x={LEFT - 6} y={y(v) + 4} text-anchor="end">
            {number(v)}
          </text>
        </g>
      ))}
      {band.length > 0 && <polygon points={band.join(' ')} />}
      <polyline class="known" points={known.join(' ')} />
      {came.length > 0 && <polyline class="came" points={came.flatMap((v, i) => (v === null ? [] : [at(first + i, v)])).join(' ')} />}
      <polyline class="told" points={told.join(' ')} />
      <text x={LEFT} y={TALL - 3}>
        {times[0]}
      </text>
      <text x={x(first)} y={TALL - 3} text-anchor="middle">
        {times[first]}
      </text>
      <text x={WIDE - 6} y={TALL - 3} text-anchor="end">
        {times.at(-1)}
      </text>
      <text class="title" x={LEFT + 6} y={16}>
        {name}
      </text>
    </svg>
  )
}

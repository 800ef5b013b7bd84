/** A panel with curves: their means, the band between the smallest and the largest value, and what must not be missed. */
import uPlot from 'uplot'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { number, tick, whole } from './format'
import { ink, isDark, paint } from './theme'

export interface Line {
  label: string
  paint: number // of the palette
  x: Float64Array
  mean: Float64Array
  low?: Float64Array | undefined
  high?: Float64Array | undefined
  bad?: Float64Array | undefined // how many of each stretch were NaN or infinite
  faint?: boolean
  dots?: boolean
}

export interface Level {
  label: string
  value: number
}

export interface Mark {
  x: number
  label: string
  kind: 'attempt' | 'best' | 'finding' | 'skipped'
}

export interface Range {
  from: number
  to: number
}

interface Props {
  title: string
  lines: Line[]
  levels?: Level[] | undefined
  marks?: Mark[] | undefined
  range: Range | null
  whole: Range
  logX: boolean
  logY: boolean
  perEpoch: number // steps; 0: the axis counts steps
  onRange: (range: Range | null) => void
  note?: string | undefined
}

const HEIGHT = 230

export function Chart(props: Props) {
  const host = useRef<HTMLDivElement>(null)
  const legend = useRef<HTMLSpanElement>(null)
  const plot = useRef<uPlot | null>(null)
  const shown = useRef(true) // a panel out of sight is drawn when it comes into sight
  const late = useRef(false)
  const now = useRef(props)
  now.current = props
  const form = `${props.lines.map((l) => `${l.label}:${l.paint}:${l.faint}:${l.dots}`)}|${props.logX}|${props.logY}|${isDark.value}|${props.perEpoch > 0}`

  useEffect(() => {
    const el = host.current!
    const made = new uPlot(options(now, el, legend), data(now.current.lines), el)
    plot.current = made
    const follow = new ResizeObserver(() => made.setSize({ width: el.clientWidth, height: HEIGHT }))
    follow.observe(el)
    const look = new IntersectionObserver(
      (seen) => {
        shown.current = seen.at(-1)!.isIntersecting
        if (shown.current && late.current) made.setData(data(now.current.lines))
        late.current = false
      },
      { rootMargin: '200px' },
    )
    look.observe(el)
    return () => {
      follow.disconnect()
      look.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [form])

  useEffect(() => {
    if (shown.current) plot.current?.setData(data(props.lines))
    late.current = !shown.current
  }, [props.lines, props.levels, props.marks])

  useEffect(() => {
    if (shown.current) plot.current?.setScale('x', bounds(props))
    late.current ||= !shown.current
  }, [props.range?.from, props.range?.to, props.whole.from, props.whole.to])

  const said = useMemo(() => summary(props), [props.lines, props.levels])
  return (
    <figure class="panel" aria-label={said} tabIndex={0} onKeyDown={(e) => keys(e, now.current)}>
      <figcaption>
        <b>{props.title}</b>
        <span class="legend" ref={legend}>
          {props.lines.filter((l) => !l.faint).map((l) => (
            <span key={l.label}>
              <i style={{ background: paint(l.paint) }} />
              {l.label}
            </span>
          ))}
          {props.levels?.map((l) => (
            <span key={l.label} class="level">
              <i /> {l.label} {number(l.value)}
            </span>
          ))}
        </span>
      </figcaption>
      <div class="plot" ref={host} onDblClick={() => props.onRange(null)} />
      {props.note && <p class="panel-note">{props.note}</p>}
    </figure>
  )
}

/** What the curve says, for those who do not see it. */
function summary({ title, lines, levels }: Props): string {
  const said = lines.filter((l) => !l.faint && l.x.length).map((l) => {
    const known = [...l.mean].filter(isFinite)
    if (!known.length) return `${l.label}: no finite value`
    return `${l.label}: from ${number(known[0])} to ${number(known.at(-1))}, least ${number(Math.min(...known))}, most ${number(Math.max(...known))}`
  })
  return [title, ...said, ...(levels ?? []).map((l) => `${l.label} ${number(l.value)}`)].join('; ')
}

function keys(event: KeyboardEvent, { range, whole: all, onRange }: Props): void {
  const { from, to } = range ?? all
  const width = to - from
  const moved: Record<string, Range | null> = {
    '+': { from: from + width / 4, to: to - width / 4 },
    '=': { from: from + width / 4, to: to - width / 4 },
    '-': { from: from - width / 2, to: to + width / 2 },
    ArrowLeft: { from: from - width / 4, to: to - width / 4 },
    ArrowRight: { from: from + width / 4, to: to + width / 4 },
    '0': null,
  }
  if (!(event.key in moved) || event.ctrlKey || event.metaKey || event.altKey) return
  event.preventDefault()
  onRange(clamped(moved[event.key]!, all))
}

/** A range within the whole; null where it is all of it. */
export function clamped(range: Range | null, all: Range): Range | null {
  if (!range || range.to - range.from >= all.to - all.from) return null
  const width = Math.max(range.to - range.from, 1)
  const from = Math.min(Math.max(range.from, all.from), all.to - width)
  return { from, to: from + width }
}

const bounds = (p: Props) => {
  const { from, to } = p.range ?? p.whole
  return { min: p.logX ? Math.max(from, 1) : from, max: Math.max(to, from + 1) }
}

/** One x for all lines: what a line does not know there is left open, not a gap. */
function data(lines: Line[]): uPlot.AlignedData {
  const tables = lines.map((l) => [l.x, plain(l.mean)] as unknown as uPlot.AlignedData)
  return tables.length ? uPlot.join(tables, tables.map(() => [1, 1])) : ([[]] as unknown as uPlot.AlignedData)
}

const plain = (values: Float64Array) => Array.from(values, (v) => (isFinite(v) ? v : null))

function options(now: { current: Props }, el: HTMLElement, legend: { current: HTMLElement | null }): uPlot.Options {
  const { lines, logX, logY, perEpoch } = now.current
  const colours = ink.value
  const font = '11px system-ui, sans-serif'
  const axis = { stroke: colours.axis, font, grid: { stroke: colours.grid, width: 1 }, ticks: { show: false } }
  const ofX = (x: number) => (perEpoch ? tick(x / now.current.perEpoch) : tick(x))
  return {
    width: el.clientWidth,
    height: HEIGHT,
    padding: [8, 14, 0, 0],
    legend: { show: false },
    cursor: {
      sync: { key: 'run', setSeries: false },
      points: { size: 6 },
      drag: { x: true, y: false, setScale: false },
      bind: { dblclick: () => null },
    },
    scales: {
      x: { time: false, distr: logX ? 3 : 1, range: () => values(bounds(now.current)) },
      y: { distr: logY ? 3 : 1, range: () => reach(now.current) },
    },
    axes: [
      { ...axis, ...(logX && own(8)), values: (_, at) => at.map(ofX), size: 26, space: 70 },
      { ...axis, ...(logY && own(5)), values: (_, at) => at.map(tick), size: 50 },
    ],
    series: [
      {},
      ...lines.map((l) => ({
        label: l.label,
        stroke: l.faint ? paint(l.paint) + '55' : paint(l.paint),
        width: l.faint ? 1 : 1.8,
        points: { show: Boolean(l.dots), size: 5, fill: paint(l.paint) },
        spanGaps: false,
      })),
    ],
    hooks: {
      drawClear: [(u) => bands(u, now.current)],
      draw: [(u) => signs(u, now.current)],
      setSelect: [
        (u) => {
          if (u.select.width < 4) return
          const range = { from: u.posToVal(u.select.left, 'x'), to: u.posToVal(u.select.left + u.select.width, 'x') }
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false)
          now.current.onRange(clamped(range, now.current.whole))
        },
      ],
      setCursor: [(u) => read(u, now.current, legend.current)],
      ready: [(u) => wheel(u, now)],
    },
  }
}

/** Our own ticks of a logarithmic axis: uPlot's search for them does not end where the axis spans less than a decade. */
const own = (most: number) => ({
  splits: (_: uPlot, __: number, min: number, max: number) => logarithmic(min, max, most),
  filter: (_: uPlot, splits: number[]) => splits,
})

export function logarithmic(min: number, max: number, most: number): number[] {
  const decades = Math.log10(max / min)
  if (!(decades > 0) || !isFinite(decades)) return [min]
  if (decades < 0.9) return linear(min, max, most)
  const every = Math.ceil(decades / most)
  const steps = decades < 2.5 ? [1, 2, 5] : [1]
  const found: number[] = []
  for (let power = Math.floor(Math.log10(min)); power <= Math.log10(max); power += every)
    for (const step of steps) found.push(Number(`${step}e${power}`))
  return found.filter((x) => x >= min && x <= max)
}

function linear(min: number, max: number, most: number): number[] {
  const rough = (max - min) / most
  const power = Math.floor(Math.log10(rough))
  const size = [1, 2, 5, 10].map((s) => s * 10 ** power).find((s) => s >= rough)!
  const first = Math.ceil(min / size)
  return Array.from({ length: Math.floor(max / size) - first + 1 }, (_, i) => (first + i) * size)
}

const values = (b: { min: number; max: number }): [number, number] => [b.min, b.max]

/** The y that all visible points lie in, levels that are near them too. */
function reach(p: Props): [number, number] {
  const x = bounds(p)
  let low = Infinity
  let high = -Infinity
  const see = (v: number) => {
    if (!isFinite(v) || (p.logY && v <= 0)) return
    low = Math.min(low, v)
    high = Math.max(high, v)
  }
  for (const l of p.lines)
    for (let i = 0; i < l.x.length; i++) {
      if (l.x[i]! < x.min || l.x[i]! > x.max) continue
      see((l.low ?? l.mean)[i]!)
      see((l.high ?? l.mean)[i]!)
    }
  if (low > high) return p.logY ? [0.1, 1] : [0, 1]
  const span = high - low
  for (const l of p.levels ?? []) if (l.value > low - span * 1.5 && l.value < high + span * 1.5) see(l.value)
  if (p.logY) return [low / 1.1, high * 1.1]
  const edge = (high - low || Math.abs(high) || 1) * 0.06
  return [low >= 0 && low - edge < 0 ? 0 : low - edge, high + edge]
}

/** Between the smallest and the largest value of each stretch. */
function bands(u: uPlot, p: Props): void {
  const { ctx } = u
  clip(u, () => {
    for (const l of p.lines) {
      if (!l.low || !l.high) continue
      ctx.fillStyle = paint(l.paint) + (isDark.value ? '38' : '2e')
      ctx.strokeStyle = paint(l.paint) + '66' // a spike of one stretch would be lost without an edge
      ctx.lineWidth = devicePixelRatio * 0.75
      let start = 0
      for (let i = 0; i <= l.x.length; i++) {
        if (i < l.x.length && isFinite(l.low[i]!)) continue
        if (i - start > 1) area(u, l, start, i)
        start = i + 1
      }
    }
  })
}

function area(u: uPlot, l: Line, start: number, end: number): void {
  const { ctx } = u
  const y = (v: number) => u.valToPos(v, 'y', true)
  ctx.beginPath()
  for (let i = start; i < end; i++) ctx.lineTo(u.valToPos(l.x[i]!, 'x', true), y(l.high![i]!))
  for (let i = end - 1; i >= start; i--) ctx.lineTo(u.valToPos(l.x[i]!, 'x', true), y(l.low![i]!))
  ctx.closePath()
  ctx.fill()
  ctx.stroke()
}

function clip(u: uPlot, drawn: () => void): void {
  const { ctx, bbox } = u
  ctx.save()
  ctx.beginPath()
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
  ctx.clip()
  drawn()
  ctx.restore()
}

/** Baselines, attempts, the best, what was not finite. */
function signs(u: uPlot, p: Props): void {
  const { ctx, bbox } = u
  const dot = devicePixelRatio
  const colours = ink.value
  clip(u, () => {
    ctx.lineWidth = dot
    ctx.strokeStyle = colours.line
    ctx.setLineDash([6 * dot, 4 * dot])
    for (const level of p.levels ?? []) stroke(ctx, bbox.left, u.valToPos(level.value, 'y', true), bbox.width, 0)
    for (const mark of p.marks ?? []) {
      const x = u.valToPos(mark.x, 'x', true)
      ctx.setLineDash(mark.kind === 'attempt' ? [2 * dot, 3 * dot] : [])
      ctx.strokeStyle = { attempt: colours.line, best: colours.best, finding: colours.alarm, skipped: colours.alarm }[mark.kind]
      if (mark.kind === 'best') continue
      if (mark.kind === 'attempt') stroke(ctx, x, bbox.top, 0, bbox.height)
      else stroke(ctx, x, bbox.top, 0, 12 * dot)
    }
    ctx.setLineDash([])
    ctx.strokeStyle = colours.alarm
    ctx.lineWidth = 1.5 * dot
    for (const l of p.lines)
      for (let i = 0; i < (l.bad?.length ?? 0); i++)
        if (l.bad![i]!) cross(ctx, u.valToPos(l.x[i]!, 'x', true), bbox.top + bbox.height - 6 * dot, 3 * dot)
  })
  const { min, max } = bounds(p)
  for (const mark of p.marks ?? [])
    if (mark.kind === 'best' && mark.x >= min && mark.x <= max)
      star(ctx, u.valToPos(mark.x, 'x', true), bbox.top + 7 * dot, 5 * dot, colours.best)
}

function stroke(ctx: CanvasRenderingContext2D, x: number, y: number, dx: number, dy: number): void {
  ctx.beginPath()
  ctx.moveTo(x, y)
  ctx.lineTo(x + dx, y + dy)
  ctx.stroke()
}

function cross(ctx: CanvasRenderingContext2D, x: number, y: number, r: number): void {
  stroke(ctx, x - r, y - r, 2 * r, 2 * r)
  stroke(ctx, x - r, y + r, 2 * r, -2 * r)
}

function star(ctx: CanvasRenderingContext2D, x: number, y: number, r: number, colour: string): void {
  ctx.fillStyle = colour
  ctx.beginPath()
  for (let i = 0; i < 10; i++) {
    const size = i % 2 ? r * 0.42 : r
    ctx.lineTo(x + size * Math.sin((i * Math.PI) / 5), y - size * Math.cos((i * Math.PI) / 5))
  }
  ctx.fill()
}

/** The values under the cursor, into the legend: no rendering of the page for each move of a mouse. */
function read(u: uPlot, p: Props, legend: HTMLElement | null): void {
  if (!legend) return
  const labels = legend.querySelectorAll<HTMLElement>(':scope > span:not(.level)')
  const seen = p.lines.filter((l) => !l.faint)
  const left = u.cursor.left ?? -1
  const at = left < 0 ? NaN : u.posToVal(left, 'x')
  seen.forEach((l, i) => {
    const text = labels[i]?.lastChild
    if (text) text.nodeValue = isNaN(at) ? l.label : `${l.label} ${said(l, at)}`
  })
  legend.dataset.step = isNaN(at) ? '' : `step ${whole(at)}`
}

function said(l: Line, at: number): string {
  let low = 0
  let high = l.x.length - 1
  if (high < 0) return '–'
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (l.x[middle]! < at) low = middle
    else high = middle
  }
  return number(l.mean[at - l.x[low]! < l.x[high]! - at ? low : high]!)
}

/** Zoom about the pointer with Ctrl or Shift and the wheel; the page scrolls as ever without. */
function wheel(u: uPlot, now: { current: Props }): void {
  u.over.addEventListener(
    'wheel',
    (event) => {
      if (!event.ctrlKey && !event.shiftKey) return
      event.preventDefault()
      const { range, whole: all, onRange } = now.current
      const { from, to } = range ?? all
      const at = u.posToVal(event.offsetX, 'x')
      const scale = (event.deltaY || event.deltaX) > 0 ? 1.25 : 0.8
      onRange(clamped({ from: at - (at - from) * scale, to: at + (to - at) * scale }, all))
    },
    { passive: false },
  )
}

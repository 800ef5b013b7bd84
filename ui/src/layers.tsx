/** Statistics of the layers over the steps, as one picture: layers down, steps across. */
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { type About, type Heat, layers } from './api'
import { number, whole } from './format'
import { useLoaded } from './loaded'
import { Empty, Trouble } from './parts'

const ROW = 18
const VIRIDIS = ['#440154', '#482878', '#3e4a89', '#31688e', '#26828e', '#1f9e89', '#35b779', '#6dcd59', '#b4de2c', '#fde725']

export function Layers({ run, turn }: { run: About; turn: number }) {
  const statistics = Object.keys(run.layers)
  const chosen = useSignal(statistics[0] ?? '')
  const log = useSignal(true)
  const name = statistics.includes(chosen.value) ? chosen.value : (statistics[0] ?? '')
  const { value, error } = useLoaded((s) => layers(run.key, name, 600, s), `${run.key} ${name}`, turn)
  if (!statistics.length)
    return (
      <Empty title="No statistics of the layers were measured">
        <p>
          Where a run measures them, gradients, updates and activations of every layer appear here over the whole
          training.
        </p>
      </Empty>
    )
  return (
    <>
      <div class="tools">
        <label>
          statistic{' '}
          <select value={name} onChange={(e) => (chosen.value = e.currentTarget.value)}>
            {statistics.map((s) => (
              <option key={s}>{s}</option>
            ))}
          </select>
        </label>
        <button aria-pressed={log.value} onClick={() => (log.value = !log.value)}>
          log colours
        </button>
      </div>
      {error && !value && <Trouble error={error} />}
      {value && <Picture heat={value} log={log.value} name={name} />}
    </>
  )
}

function Picture({ heat, log, name }: { heat: Heat; log: boolean; name: string }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const at = useSignal<{ layer: number; step: number } | null>(null)
  const [low, high] = reach(heat, log)
  useEffect(() => draw(canvas.current!, heat, low, high, log), [heat, low, high, log])
  const { length: wide } = heat.steps
  const point = (event: PointerEvent) => {
    const box = canvas.current!.getBoundingClientRect()
    const layer = Math.floor(((event.clientY - box.top) / box.height) * heat.layers.length)
    const step = Math.floor(((event.clientX - box.left) / box.width) * wide)
    at.value = layer >= 0 && layer < heat.layers.length && step >= 0 && step < wide ? { layer, step } : null
  }
  const keys = (event: KeyboardEvent) => {
    const moves: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }
    const move = moves[event.key]
    if (!move) return
    event.preventDefault()
    const old = at.value ?? { layer: 0, step: wide - 1 }
    at.value = {
      layer: Math.min(Math.max(old.layer + move[0], 0), heat.layers.length - 1),
      step: Math.min(Math.max(old.step + move[1], 0), wide - 1),
    }
  }
  const here = at.value
  return (
    <figure class="heat card">
      <figcaption aria-live="polite">
        <b>{name}</b>{' '}
        {here ? (
          <>
            {heat.layers[here.layer]} at step {whole(heat.steps[here.step]!)}:{' '}
            <b>{number(heat.values[here.layer * wide + here.step])}</b>
          </>
        ) : (
          <span class="mute">point at a cell, or move with the arrow keys</span>
        )}
      </figcaption>
      <div class="grid" style={{ '--rows': heat.layers.length }}>
        <ul class="names" aria-hidden="true">
          {heat.layers.map((l, i) => (
            <li key={l} class={here?.layer === i ? 'here' : ''} title={l}>
              {l}
            </li>
          ))}
        </ul>
        <canvas
          ref={canvas}
          tabIndex={0}
          role="img"
          aria-label={`${name} of ${heat.layers.length} layers over ${wide} measurements, from ${number(least(low, log))} to ${number(least(high, log))}`}
          style={{ height: `${heat.layers.length * ROW}px` }}
          onPointerMove={point}
          onPointerLeave={() => (at.value = null)}
          onKeyDown={keys}
        />
      </div>
      <p class="scale">
        <span>{number(least(low, log))}</span>
        <i style={{ background: `linear-gradient(90deg, ${VIRIDIS.join()})` }} />
        <span>{number(least(high, log))}</span>
        <span class="mute">steps {whole(heat.steps[0] ?? 0)} to {whole(heat.steps.at(-1) ?? 0)}; empty: not measured or not finite{log && '; red: 0'}</span>
      </p>
    </figure>
  )
}

const least = (v: number, log: boolean) => (log ? 10 ** v : v)
const size = (v: number, log: boolean) => (log ? Math.log10(Math.abs(v)) : v)

function reach({ values }: Heat, log: boolean): [number, number] {
  const seen = Array.from(values, (v) => size(v, log)).filter(isFinite)
  if (!seen.length) return [0, 1]
  const [low, high] = seen.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity])
  return low === high ? [low - 1, high + 1] : [low, high]
}

function draw(canvas: HTMLCanvasElement, { layers: rows, steps, values }: Heat, low: number, high: number, log: boolean): void {
  canvas.width = Math.max(steps.length, 1)
  canvas.height = Math.max(rows.length, 1)
  const ctx = canvas.getContext('2d')!
  const picture = ctx.createImageData(canvas.width, canvas.height)
  for (let i = 0; i < values.length; i++) {
    const v = size(values[i]!, log)
    const zero = log && values[i] === 0 // nothing flows there: no gap, but what is looked for
    if (!isFinite(v) && !zero) continue
    const [r, g, b] = zero ? ZERO : colour((v - low) / (high - low))
    picture.data.set([r, g, b, 255], i * 4)
  }
  ctx.putImageData(picture, 0, 0)
}

const ZERO: [number, number, number] = [200, 40, 30]
const STOPS = VIRIDIS.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)) as [number, number, number])

function colour(share: number): [number, number, number] {
  const x = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1)
  const [a, b] = [STOPS[Math.floor(x)]!, STOPS[Math.ceil(x)]!]
  return [0, 1, 2].map((i) => a[i]! + (b[i]! - a[i]!) * (x % 1)) as [number, number, number]
}

/** How much each piece of a text looks at each other, head by head, as the network computed it. */
import { useSignal } from '@preact/signals'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import type { About } from '../api'
import { useLoaded } from '../loaded'
import { Trouble } from '../parts'
import { attention, type Attended, type Attention as Map } from './ask'

const NAMED = 5 // pieces that are told in words
const SIDE = 84 // px of the picture of a head

interface Props {
  run: About
  part: string
  sample: number
  onClose: () => void
}

export function Attention({ run, part, sample, onClose }: Props) {
  const { value: told, error } = useLoaded((s) => attention(run.key, part, sample, s), `${run.key} ${part} ${sample}`, 0)
  const box = useRef<HTMLElement>(null)
  useEffect(() => {
    box.current!.focus()
    box.current!.scrollIntoView({ block: 'nearest' })
  }, [])
  return (
    <section ref={box} tabIndex={-1} class="attention" aria-label={`attention on sample ${sample}`} onKeyDown={(e) => e.key === 'Escape' && onClose()}>
      <div class="tools">
        <h3>Who looks at whom, sample {sample}</h3>
        <span class="grow" />
        <button onClick={onClose}>close</button>
      </div>
      {error ? <Trouble error={error} /> : told ? <Shown told={told} /> : <p class="opening">reading the text with every head …</p>}
    </section>
  )
}

function Shown({ told }: { told: Attended }) {
  const last = told.maps.length - 1
  const which = useSignal(last)
  const head = useSignal(-1) // all of them
  const row = useSignal(0)
  const map = told.maps[which.value]!
  const looks = told.texts[map.queries]!
  const seen = told.texts[map.keys]!
  const at = Math.min(row.value, looks.length - 1)
  const one = Math.min(head.value, map.heads - 1)
  const weights = useMemo(() => weightsOf(map, one, looks.length, seen.length), [map, one])
  const shares = weights.subarray(at * seen.length, (at + 1) * seen.length)
  const most = Math.max(...shares, 1e-9)
  const first = [...shares.keys()].sort((a, b) => shares[b]! - shares[a]!).slice(0, NAMED)
  return (
    <>
      <div class="tools">
        <label>
          attention{' '}
          <select value={which.value} onChange={(e) => (which.value = Number(e.currentTarget.value))}>
            {told.maps.map((m, i) => (
              <option key={m.name} value={i}>
                {m.title}
              </option>
            ))}
          </select>
        </label>
        <span class="mute">Each row of a picture is a piece that looks, each column one that is looked at; a row adds up to 1.</span>
      </div>
      <div class="heads" role="group" aria-label="heads">
        {map.heads > 1 && <Head map={map} head={-1} rows={looks.length} columns={seen.length} chosen={one < 0} choose={(h) => (head.value = h)} />}
        {Array.from({ length: map.heads }, (_, i) => (
          <Head key={i} map={map} head={i} rows={looks.length} columns={seen.length} chosen={one === i || map.heads === 1} choose={(h) => (head.value = h)} />
        ))}
      </div>
      <p class="small mute">{map.queries === map.keys ? 'Choose the piece that looks:' : `Choose the piece of what is ${map.queries} that looks:`}</p>
      <p class="tokens pieces" role="group" aria-label="pieces that look">
        {looks.map((t, i) => (
          <button key={i} aria-pressed={i === at} onClick={() => (row.value = i)} onPointerEnter={(e) => e.pointerType === 'mouse' && (row.value = i)}>
            {shown(t)}
          </button>
        ))}
      </p>
      <p class="small mute">{map.queries === map.keys ? 'It looks at:' : `It looks at these pieces of the ${map.keys}:`}</p>
      <p class="tokens pieces" aria-label="pieces that are looked at">
        {seen.map((t, i) => (
          <span key={i} style={{ '--s': (shares[i]! / most).toFixed(3) }} title={`${shown(t)}: ${shares[i]!.toFixed(4)}`}>
            {shown(t)}
          </span>
        ))}
      </p>
      <p role="status" class="small">
        {map.heads === 1 ? '' : one < 0 ? 'Over all heads, ' : `In head ${one + 1}, `}“{shown(looks[at]!)}” looks at {first.map((i) => `“${shown(seen[i]!)}” ${shares[i]!.toFixed(3)}`).join(', ')}
        {seen.length > NAMED && ', …'}
      </p>
    </>
  )
}

interface HeadProps {
  map: Map
  head: number
  rows: number
  columns: number
  chosen: boolean
  choose: (head: number) => void
}

/** All of a head at a glance; each row by its largest share. */
function Head({ map, head, rows, columns, chosen, choose }: HeadProps) {
  const canvas = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    const to = canvas.current!
    to.width = columns
    to.height = rows
    const pen = to.getContext('2d')!
    const out = pen.createImageData(columns, rows)
    const weights = weightsOf(map, head, rows, columns)
    for (let r = 0; r < rows; r++) {
      const row = weights.subarray(r * columns, (r + 1) * columns)
      const most = Math.max(...row, 1e-9)
      row.forEach((w, c) => out.data.set([217, 130, 43, Math.round((w / most) * 255)], (r * columns + c) * 4))
    }
    pen.putImageData(out, 0, 0)
  }, [map, head])
  const scale = SIDE / Math.max(rows, columns)
  return (
    <button aria-pressed={chosen} onClick={() => choose(head)}>
      <canvas ref={canvas} aria-hidden="true" style={{ width: `${Math.max(8, Math.round(columns * scale))}px`, height: `${Math.max(8, Math.round(rows * scale))}px` }} />
      {head < 0 ? 'all heads' : `head ${head + 1}`}
    </button>
  )
}

/** (rows, columns) of a head, or their mean. */
function weightsOf({ cells, heads }: Map, head: number, rows: number, columns: number): Float32Array {
  const size = rows * columns
  if (head >= 0) return cells.subarray(head * size, (head + 1) * size)
  const mean = new Float32Array(size)
  for (let i = 0; i < cells.length; i++) mean[i % size]! += cells[i]! / heads
  return mean
}

const shown = (piece: string) => piece.replace(/\n/g, '⏎').replace(/^ | $/g, '␣') || '∅'

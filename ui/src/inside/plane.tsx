/** What the network says everywhere on the plane of two numbers: its decision boundary, with training samples on it. */
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { isDark } from '../theme'
import * as ask from './ask'
import { useLoaded } from '../loaded'

const TONES = ['#3b6ea8', '#d9822b', '#1c7a2e', '#a03573', '#9a7b0a', '#2c8fb0', '#d4475a', '#6a6a6a']

interface Props {
  id: string
  at: ask.At
  node: ask.Node // whose numbers have their maps
  here: Float32Array | undefined // the sample
  held: number | null // the number of the node that is held
  hold: (index: number) => void
}

export function Plane({ id, at, node, here, held, hold }: Props) {
  const { value } = useLoaded((s) => ask.decisions(id, at, s), `${id} ${at.step}`, 0)
  if (!value) return null
  return (
    <>
      <Drawn {...value} here={here} />
      {node.kind === 'value' && <Units id={id} at={at} node={node} held={held} hold={hold} />}
    </>
  )
}

/** A small map of the plane for each number of a tensor: how one layer bends it for the next. */
function Units({ id, at, node, held, hold }: Omit<Props, 'here'>) {
  const { value } = useLoaded(async (s) => ({ of: node, units: await ask.units(id, at, node.id, s) }), `${id} ${JSON.stringify(at)} ${node.id}`, 0)
  const canvas = useRef<HTMLCanvasElement>(null)
  const over = useSignal(-1)
  const units = value?.of.id === node.id ? value.units : null
  const across = units ? Math.min(units.count, Math.max(4, Math.ceil(Math.sqrt(units.count)))) : 1
  const down = units ? Math.ceil(units.count / across) : 1
  const size = Math.floor(324 / across)
  const dark = isDark.value
  useEffect(() => {
    if (!units || !canvas.current) return
    const { side, count, scale, cells } = units
    const pen = canvas.current.getContext('2d')!
    pen.clearRect(0, 0, canvas.current.width, canvas.current.height)
    const small = new OffscreenCanvas(side, side)
    const ink = small.getContext('2d')!
    const pixels = ink.createImageData(side, side)
    const [none, plus, minus] = dark ? [[33, 41, 51], [255, 153, 51], [77, 153, 255]] : [[244, 245, 248], [214, 97, 0], [20, 84, 184]]
    for (let u = 0; u < count; u++) {
      for (let i = 0; i < side * side; i++) {
        const v = cells[u * side * side + i]!
        const m = Math.min(1, Math.sqrt(Math.abs(v) / (scale || 1)))
        const to = 4 * ((side - 1 - Math.floor(i / side)) * side + (i % side))
        for (let c = 0; c < 3; c++) pixels.data[to + c] = none![c]! + m * ((v > 0 ? plus! : minus!)[c]! - none![c]!)
        pixels.data[to + 3] = 255
      }
      ink.putImageData(pixels, 0, 0)
      const [x, y] = [(u % across) * size, Math.floor(u / across) * size]
      pen.drawImage(small, x + 1, y + 1, size - 2, size - 2)
      if (u === held) {
        pen.strokeStyle = dark ? '#ffd166' : '#b3005e'
        pen.lineWidth = 2
        pen.strokeRect(x + 1, y + 1, size - 2, size - 2)
      }
    }
  }, [units, held, dark, size])
  if (!units) return null
  const under = (e: MouseEvent) => {
    const box = canvas.current!.getBoundingClientRect()
    const [i, j] = [Math.floor(((e.clientX - box.left) / box.width) * across), Math.floor(((e.clientY - box.top) / box.height) * down)]
    const found = j * across + i
    return i >= 0 && i < across && found >= 0 && found < units.count ? found : -1
  }
  const name = `${units.count < units.of ? `the first ${units.count} of ${units.of}` : units.count} number${units.of > 1 ? 's' : ''} of ${node.title}`
  return (
    <figure class="plane units">
      <figcaption>
        The same plane, seen by each of the {name}: orange where it is above 0, blue below.
      </figcaption>
      <canvas ref={canvas} width={across * size} height={down * size} role="img" aria-label={`maps of the plane, one for each of the ${name}`}
        onMouseMove={(e) => (over.value = under(e))} onMouseLeave={() => (over.value = -1)}
        onClick={(e) => under(e) >= 0 && hold(under(e))} />
      <figcaption aria-hidden="true">{over.value >= 0 ? `number ${over.value}: click to hold it` : held !== null ? `number ${held} is held` : 'point at a map'}</figcaption>
    </figure>
  )
}

function Drawn({ side, low, high, grid, sure, classes, points, here }: ask.Decisions & { here: Float32Array | undefined }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const dark = isDark.value
  useEffect(() => {
    const pen = canvas.current!.getContext('2d')!
    const [w, h] = [canvas.current!.width, canvas.current!.height]
    const [bottom, top] = [Math.min(...grid), Math.max(...grid)]
    const share = (v: number) => Math.min(1, Math.max(-1, ((v - bottom) / (top - bottom || 1)) * 2 - 1)) // of a number, on its scale
    pen.clearRect(0, 0, w, h)
    const small = new OffscreenCanvas(side, side)
    const ink = small.getContext('2d')!
    grid.forEach((g, i) => {
      const least = 1 / Math.max(2, classes.length)
      const strong = sure.length ? (sure[i]! - least) / (1 - least) : Math.abs(share(g))
      ink.globalAlpha = 0.12 + 0.75 * Math.max(0, strong)
      ink.fillStyle = sure.length ? TONES[g % TONES.length]! : share(g) > 0 ? TONES[1]! : TONES[0]!
      ink.fillRect(i % side, side - 1 - Math.floor(i / side), 1, 1)
    })
    pen.imageSmoothingEnabled = true
    pen.drawImage(small, 0, 0, w, h)
    const place = (x: number, y: number) => [((x - low[0]) / (high[0] - low[0])) * w, h - ((y - low[1]) / (high[1] - low[1])) * h] as const
    for (const [x, y, c] of points) {
      pen.beginPath()
      pen.arc(...place(x, y), 4, 0, 7)
      pen.fillStyle = dark ? '#0f151c' : '#fff'
      pen.fill()
      pen.globalAlpha = sure.length ? 1 : 0.25 + 0.75 * Math.abs(share(c))
      pen.fillStyle = sure.length ? TONES[c % TONES.length]! : share(c) > 0 ? TONES[1]! : TONES[0]!
      pen.fill()
      pen.globalAlpha = 1
      pen.strokeStyle = dark ? '#0f151c' : '#fff'
      pen.stroke()
    }
    if (here?.length === 2) {
      pen.beginPath()
      pen.arc(...place(here[0]!, here[1]!), 8, 0, 7)
      pen.lineWidth = 2.5
      pen.strokeStyle = dark ? '#ffd166' : '#b3005e'
      pen.stroke()
      pen.lineWidth = 1
    }
  }, [side, grid, sure, points, dark, here])
  return (
    <figure class="plane">
      <canvas ref={canvas} width={320} height={320} role="img" aria-label={`what the network says on the plane of its two inputs${classes.length ? `: ${classes.join(', ')}` : ''}`} />
      <figcaption>
        {classes.length
          ? classes.slice(0, 8).map((c, i) => (
              <span key={c}>
                <i style={{ background: TONES[i] }} /> {c}
              </span>
            ))
          : <><span><i style={{ background: TONES[0] }} /> low</span><span><i style={{ background: TONES[1] }} /> high</span></>}
        {here?.length === 2 && <span><i class="ring" /> this sample</span>}
      </figcaption>
    </figure>
  )
}

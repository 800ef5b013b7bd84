/** A field to draw on, which gives a picture like those that the run was trained on. */
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { Draw as Form } from './ask'

const SIDE = 280 // pixels that are drawn on
const PAUSE = 250 // ms after a stroke before it is judged

interface Props {
  form: Form
  onDrawn: (png: Blob) => void
  onEmpty: () => void
}

export function Draw({ form, onDrawn, onEmpty }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const last = useRef<[number, number] | null>(null)
  const timer = useRef(0)
  const width = useSignal(Math.round(SIDE / Math.min(14, Math.max(...form.size))))
  const clear = () => {
    const ctx = canvas.current!.getContext('2d')!
    ctx.fillStyle = '#000'
    ctx.fillRect(0, 0, SIDE, SIDE)
    clearTimeout(timer.current)
    onEmpty()
  }
  useEffect(clear, [])
  const place = (event: PointerEvent): [number, number] => {
    const box = canvas.current!.getBoundingClientRect()
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE]
  }
  const stroke = (to: [number, number]) => {
    const ctx = canvas.current!.getContext('2d')!
    const from = last.current ?? to
    ctx.strokeStyle = '#fff'
    ctx.lineWidth = width.value
    ctx.lineCap = ctx.lineJoin = 'round'
    ctx.beginPath()
    ctx.moveTo(...from)
    ctx.lineTo(to[0] + 0.01, to[1])
    ctx.stroke()
    last.current = to
    clearTimeout(timer.current)
    timer.current = window.setTimeout(async () => {
      const made = await framed(canvas.current!, form)
      if (made) onDrawn(made)
    }, PAUSE)
  }
  return (
    <div class="draw">
      <p class="small mute">Draw here, with a mouse, a pen or a finger.</p>
      <canvas
        ref={canvas}
        width={SIDE}
        height={SIDE}
        role="img"
        aria-label="field to draw on, with a mouse, a pen or a finger; a picture may also be dropped as a file"
        onPointerDown={(e) => {
          e.currentTarget.setPointerCapture(e.pointerId)
          last.current = null
          stroke(place(e))
        }}
        onPointerMove={(e) => e.buttons && stroke(place(e))}
        onPointerUp={() => (last.current = null)}
      />
      <div class="tools">
        <button onClick={clear}>clear</button>
        <label>
          pen{' '}
          <input
            type="range"
            min={6}
            max={60}
            value={width.value}
            onInput={(e) => (width.value = Number(e.currentTarget.value))}
          />
        </label>
      </div>
    </div>
  )
}

/** What was drawn, in the middle, as large as the run's own pictures are, in their greys; nothing where none was. */
async function framed(drawn: HTMLCanvasElement, { fill, paper, ink }: Form): Promise<Blob | null> {
  const { data } = drawn.getContext('2d')!.getImageData(0, 0, SIDE, SIDE)
  let [left, top, right, bottom] = [SIDE, SIDE, -1, -1]
  for (let i = 0; i < SIDE * SIDE; i++)
    if (data[i * 4]! > 32) {
      const [x, y] = [i % SIDE, Math.floor(i / SIDE)]
      ;[left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)]
    }
  if (right < 0) return null
  const scale = (SIDE * fill) / Math.max(right - left + 1, bottom - top + 1)
  const out = new OffscreenCanvas(SIDE, SIDE)
  const ctx = out.getContext('2d')!
  ctx.fillStyle = '#000'
  ctx.fillRect(0, 0, SIDE, SIDE)
  ctx.translate(SIDE / 2, SIDE / 2)
  ctx.scale(scale, scale)
  ctx.drawImage(drawn, -(left + right) / 2, -(top + bottom) / 2)
  const picture = ctx.getImageData(0, 0, SIDE, SIDE)
  for (let i = 0; i < picture.data.length; i += 4) {
    const grey = paper + ((ink - paper) * picture.data[i]!) / 255
    picture.data.set([grey, grey, grey, 255], i)
  }
  ctx.putImageData(picture, 0, 0)
  return out.convertToBlob({ type: 'image/png' })
}

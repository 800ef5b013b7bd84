/** Predicted against true: on the line it is right, and how far from it a point lies is the error. */
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { number, tick } from '../format'
import { isDark } from '../theme'

const [SIDE, LEFT, FOOT] = [420, 58, 36]

interface Props {
  truth: number[]
  said: number[]
  onPoint: (at: number) => void
}

export function Scatter({ truth, said, onPoint }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const near = useSignal(-1)
  const all = [...truth, ...said].filter(isFinite)
  const [low, high] = [Math.min(...all), Math.max(...all)]
  const span = high - low || 1
  const x = (v: number) => LEFT + 6 + ((v - low) / span) * (SIDE - LEFT - 14)
  const y = (v: number) => SIDE - FOOT - 6 - ((v - low) / span) * (SIDE - FOOT - 14)
  const mean = truth.reduce((a, b) => a + b, 0) / truth.length
  const off = truth.map((t, i) => said[i]! - t)
  const squares = off.reduce((sum, e) => sum + e * e, 0)
  const r2 = 1 - squares / (truth.reduce((sum, t) => sum + (t - mean) ** 2, 0) || 1)
  const bias = off.reduce((a, b) => a + b, 0) / off.length
  useEffect(() => {
    const ctx = canvas.current!.getContext('2d')!
    const ratio = devicePixelRatio || 1
    canvas.current!.width = canvas.current!.height = SIDE * ratio
    ctx.scale(ratio, ratio)
    const style = getComputedStyle(canvas.current!)
    const [ink, line, dot] = ['--mute', '--line', '--acc'].map((n) => style.getPropertyValue(n))
    ctx.font = '11px system-ui, sans-serif'
    ctx.strokeStyle = line!
    ctx.fillStyle = ink!
    for (const v of [low, low + span / 2, high]) {
      ctx.strokeRect(x(v), 8, 0, SIDE - FOOT - 14)
      ctx.strokeRect(LEFT, y(v), SIDE - LEFT - 8, 0)
      ctx.textAlign = 'right'
      ctx.fillText(tick(+v.toPrecision(3)), LEFT - 6, y(v) + 4)
      ctx.textAlign = v === high ? 'right' : 'center'
      ctx.fillText(tick(+v.toPrecision(3)), x(v), SIDE - FOOT + 12)
    }
    ctx.textAlign = 'center'
    ctx.fillText('true', x(low + span / 2), SIDE - 6)
    ctx.save()
    ctx.translate(12, y(low + span / 2))
    ctx.rotate(-Math.PI / 2)
    ctx.fillText('said', 0, 0)
    ctx.restore()
    ctx.strokeStyle = ink!
    ctx.setLineDash([5, 4])
    ctx.beginPath()
    ctx.moveTo(x(low), y(low))
    ctx.lineTo(x(high), y(high))
    ctx.stroke()
    ctx.fillStyle = dot!
    ctx.globalAlpha = truth.length > 400 ? 0.35 : 0.65
    truth.forEach((t, i) => {
      ctx.beginPath()
      ctx.arc(x(t), y(said[i]!), i === near.value ? 6 : 3, 0, 7)
      ctx.fill()
    })
  }, [truth, said, near.value, isDark.value])
  const find = (event: PointerEvent | MouseEvent) => {
    const box = canvas.current!.getBoundingClientRect()
    const scale = SIDE / box.width
    const [px, py] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale]
    let [best, found] = [200, -1]
    truth.forEach((t, i) => {
      const far = (x(t) - px) ** 2 + (y(said[i]!) - py) ** 2
      if (far < best) [best, found] = [far, i]
    })
    return found
  }
  const at = near.value
  return (
    <figure class="scatter">
      <figcaption>
        <h3>Predicted against true</h3>
        <span class="mute" role="status">
          {at >= 0
            ? `said ${number(said[at]!)}, true ${number(truth[at]!)}: ${number(said[at]! - truth[at]!)} off`
            : `RMSE ${number(Math.sqrt(squares / off.length))}, R² ${number(r2)}, ${number(Math.abs(bias))} too ${bias > 0 ? 'high' : 'low'} on average. Choose a point to see its sample.`}
        </span>
      </figcaption>
      <canvas
        ref={canvas}
        role="img"
        aria-label={`${truth.length} samples, predicted against true, R² ${number(r2)}; the samples below are the same, the worst first`}
        onPointerMove={(e) => (near.value = find(e))}
        onPointerLeave={() => (near.value = -1)}
        onClick={(e) => {
          const found = find(e)
          if (found >= 0) onPoint(found)
        }}
      />
    </figure>
  )
}

/** What the network says everywhere on the plane of two numbers: its decision boundary, with training samples on it. */
import { useEffect, useRef } from 'preact/hooks'
import { isDark } from '../theme'
import * as ask from './ask'
import { useLoaded } from '../loaded'

const TONES = ['#3b6ea8', '#d9822b', '#1c7a2e', '#a03573', '#9a7b0a', '#2c8fb0', '#d4475a', '#6a6a6a']

export function Plane({ id, at }: { id: string; at: ask.At }) {
  const { value } = useLoaded((s) => ask.decisions(id, at, s), `${id} ${at.step}`, 0)
  return value ? <Drawn {...value} /> : null
}

function Drawn({ side, low, high, grid, sure, classes, points }: ask.Decisions) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const dark = isDark.value
  useEffect(() => {
    const pen = canvas.current!.getContext('2d')!
    const [w, h] = [canvas.current!.width, canvas.current!.height]
    const [bottom, top] = [Math.min(...grid), Math.max(...grid)]
    pen.clearRect(0, 0, w, h)
    const small = new OffscreenCanvas(side, side)
    const ink = small.getContext('2d')!
    grid.forEach((g, i) => {
      const least = 1 / Math.max(2, classes.length)
      const share = sure.length ? (sure[i]! - least) / (1 - least) : Math.abs(((g - bottom) / (top - bottom || 1)) * 2 - 1)
      ink.globalAlpha = 0.12 + 0.75 * Math.max(0, share)
      ink.fillStyle = sure.length ? TONES[g % TONES.length]! : g * 2 > bottom + top ? TONES[1]! : TONES[0]!
      ink.fillRect(i % side, side - 1 - Math.floor(i / side), 1, 1)
    })
    pen.imageSmoothingEnabled = true
    pen.drawImage(small, 0, 0, w, h)
    for (const [x, y, c] of points) {
      pen.beginPath()
      pen.arc(((x - low[0]) / (high[0] - low[0])) * w, h - ((y - low[1]) / (high[1] - low[1])) * h, 4, 0, 7)
      pen.fillStyle = sure.length ? TONES[c % TONES.length]! : c > 0 ? TONES[1]! : TONES[0]!
      pen.fill()
      pen.strokeStyle = dark ? '#0f151c' : '#fff'
      pen.stroke()
    }
  }, [side, grid, sure, points, dark])
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
          : 'low to high'}
      </figcaption>
    </figure>
  )
}

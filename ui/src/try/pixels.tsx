/** A picture as the network is given it, each pixel a square. */
import { useEffect, useRef } from 'preact/hooks'
import type { Pixels as Told } from './ask'

export function Pixels({ picture, label, side = 96 }: { picture: Told; label: string; side?: number }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [channels, height, width] = picture.size
  useEffect(() => paint(canvas.current!, picture), [picture])
  const scale = side / Math.max(height, width)
  return (
    <canvas
      ref={canvas}
      class="pixels"
      role="img"
      aria-label={`${label}, ${width} by ${height} pixels${channels === 1 ? ', grey' : ''}`}
      style={{ width: `${Math.round(width * scale)}px`, height: `${Math.round(height * scale)}px` }}
    />
  )
}

export function paint(canvas: HTMLCanvasElement, { size: [channels, height, width], data }: Told): void {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0))
  canvas.width = width
  canvas.height = height
  const ctx = canvas.getContext('2d')!
  const out = ctx.createImageData(width, height)
  const most = bytes.reduce((a, b) => Math.max(a, b), 1)
  const scale = most <= 64 ? 255 / most : 1 // of 16 greys, say, which would all be black
  const plane = height * width
  for (let i = 0; i < plane; i++) {
    const at = (c: number) => bytes[Math.min(c, channels - 1) * plane + i]! * scale
    out.data.set([at(0), at(1), at(2), 255], i * 4)
  }
  ctx.putImageData(out, 0, 0)
}

/** Music along its time, pitch upwards, what was given apart from what was written; and to be heard. */
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { Music } from './ask'

const BEAT = 22 // pixels
const KEY = 6
const LONGEST = 120 // seconds that are played

export function Roll({ music }: { music: Music }) {
  const playing = useSignal(0) // seconds since it began, or 0
  const player = useRef<{ stop: () => void } | null>(null)
  useEffect(() => () => player.current?.stop(), [music])
  const { notes, tempo, primer } = music
  if (!notes.length) return <p class="mute">It wrote nothing that sounds.</p>
  const pitches = notes.map((n) => n[2])
  const [low, high] = [Math.min(...pitches) - 2, Math.max(...pitches) + 2]
  const beats = Math.max(...notes.map((n) => n[0] + n[1]))
  const [wide, tall] = [Math.ceil(beats * BEAT) + 2, (high - low + 1) * KEY]
  const toggle = () => {
    if (playing.value) player.current?.stop()
    else player.current = play(music, (s) => (playing.value = s))
  }
  return (
    <figure class="roll">
      <figcaption class="tools">
        <button onClick={toggle} aria-label={playing.value ? 'stop the music' : 'play the music'}>
          {playing.value ? '■' : '▶'}
        </button>
        <span class="mute">
          {notes.length} notes, {beats.toFixed(0)} beats at {Math.round(tempo)} a minute
          {primer > 0 && `, the first ${primer} were given`}
        </span>
      </figcaption>
      <div class="scroll" tabIndex={0} role="region" aria-label="piano roll, scrollable">
        <svg width={wide} height={tall} viewBox={`0 0 ${wide} ${tall}`} role="img" aria-label={`${notes.length} notes over ${beats.toFixed(0)} beats`}>
          {Array.from({ length: high - low + 1 }, (_, i) => high - i)
            .filter((p) => [1, 3, 6, 8, 10].includes(p % 12))
            .map((p) => (
              <rect key={p} class="black" x={0} y={(high - p) * KEY} width={wide} height={KEY} />
            ))}
          {Array.from({ length: Math.ceil(beats / 4) + 1 }, (_, i) => (
            <line key={i} class="bar" x1={i * 4 * BEAT} x2={i * 4 * BEAT} y1={0} y2={tall} />
          ))}
          {notes.map(([start, length, pitch], i) => (
            <rect
              key={i}
              class={start < primer ? 'given' : 'written'}
              x={start * BEAT}
              y={(high - pitch) * KEY}
              width={Math.max(length * BEAT - 1, 1.5)}
              height={KEY - 1}
              rx={1.5}
            />
          ))}
          {playing.value > 0 && <line class="now" x1={((playing.value * tempo) / 60) * BEAT} x2={((playing.value * tempo) / 60) * BEAT} y1={0} y2={tall} />}
        </svg>
      </div>
    </figure>
  )
}

/** By the browser's own oscillators. */
function play({ notes, tempo }: Music, tell: (seconds: number) => void): { stop: () => void } {
  const ctx = new AudioContext()
  const out = ctx.createDynamicsCompressor()
  out.connect(ctx.destination)
  const beat = 60 / tempo
  const began = ctx.currentTime + 0.05
  let end = 0
  for (const [start, length, pitch, velocity] of notes) {
    const [from, to] = [start * beat, (start + length) * beat]
    if (from > LONGEST) continue
    const voice = ctx.createOscillator()
    const loud = ctx.createGain()
    voice.type = 'triangle'
    voice.frequency.value = 440 * 2 ** ((pitch - 69) / 12)
    loud.gain.setValueAtTime(0, began + from)
    loud.gain.linearRampToValueAtTime((0.25 * (velocity ?? 80)) / 127, began + from + 0.012)
    loud.gain.setTargetAtTime(0, began + to - 0.03, 0.05)
    voice.connect(loud).connect(out)
    voice.start(began + from)
    voice.stop(began + to + 0.3)
    end = Math.max(end, to)
  }
  let frame = 0
  const stop = () => {
    cancelAnimationFrame(frame)
    void ctx.close().catch(() => {})
    tell(0)
  }
  const turn = () => {
    const at = ctx.currentTime - began
    if (at > end + 0.3) return stop()
    tell(Math.max(at, 0.001))
    frame = requestAnimationFrame(turn)
  }
  frame = requestAnimationFrame(turn)
  return { stop }
}

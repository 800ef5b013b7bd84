/** Samples as a person knows them, each with what is true and what the network says. */
import { useSignal } from '@preact/signals'
import type { About } from '../api'
import { number, value, whole } from '../format'
import { useLoaded } from '../loaded'
import { Trouble } from '../parts'
import { toInside } from '../place'
import { share } from '../try/answers'
import { Future } from '../try/future'
import { Pixels } from '../try/pixels'
import { Attention } from './attention'
import { type Judged, type Look, looks } from './ask'

const PAGE = 12
const FIELDS = 8 // of a record, before one asks for all

interface Props {
  run: About
  told: Judged
  chosen: number[] // places in what was judged, in the order to show
}

export function Gallery({ run, told, chosen }: Props) {
  const page = useSignal(0)
  const pages = Math.max(1, Math.ceil(chosen.length / PAGE))
  const now = Math.min(page.value, pages - 1)
  const some = chosen.slice(now * PAGE, (now + 1) * PAGE)
  const question = `${run.key} ${told.part} ${some.map((i) => told.index[i]).join()}`
  const { value: found, error } = useLoaded(
    async (stop) => (some.length ? await looks(run.key, told.part, some.map((i) => told.index[i]!), stop) : []),
    question,
    0,
  )
  const attending = useSignal(-1) // a sample
  const by = new Map((found ?? []).map((l) => [l.index, l]))
  return (
    <>
      {error && !found && <Trouble error={error} />}
      {attending.value >= 0 && <Attention key={attending.value} run={run} part={told.part} sample={attending.value} onClose={() => (attending.value = -1)} />}
      <div class={`gallery ${found?.some((l) => l.futures) ? 'wide' : ''}`}>
        {some.map((i) => (
          <Sample key={told.index[i]} run={run} told={told} at={i} look={by.get(told.index[i]!)} onAttend={() => (attending.value = told.index[i]!)} />
        ))}
      </div>
      {pages > 1 && (
        <p class="tools pages">
          <button disabled={now < 1} onClick={() => (page.value = now - 1)} aria-label="samples before">
            ‹
          </button>
          <span class="mute" role="status">
            {whole(now * PAGE + 1)} to {whole(Math.min((now + 1) * PAGE, chosen.length))} of {whole(chosen.length)}
          </span>
          <button disabled={now + 1 >= pages} onClick={() => (page.value = now + 1)} aria-label="next samples">
            ›
          </button>
        </p>
      )}
    </>
  )
}

interface OfSample {
  run: About
  told: Judged
  at: number
  look: Look | undefined
  onAttend: () => void
}

function Sample({ run, told, at, look, onAttend }: OfSample) {
  const whole = useSignal(false)
  const fields = Object.entries(look?.fields ?? {}).filter(([name]) => !(told.truth && look?.picture && name === 'label'))
  return (
    <article class="sample-card">
      {look?.picture && <Boxed look={look} label={`sample ${told.index[at]}`} />}
      {look?.sound && <Sound look={look} />}
      <p class="verdict">
        <Said told={told} at={at} />
        <span class="tag" title="the loss of this sample">
          loss {number(told.loss[at]!)}
        </span>
      </p>
      {look?.futures?.map((f) => <Future key={f.name} series={f} times={[]} />)}
      {look?.text !== undefined && <p class="written">{look.text}</p>}
      {fields.length > 0 && (
        <dl class="evidence">
          {fields.slice(0, whole.value ? undefined : FIELDS).map(([name, v]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{typeof v === 'number' ? number(v) : value(v)}</dd>
            </div>
          ))}
        </dl>
      )}
      {fields.length > FIELDS && (
        <button class="link" onClick={() => (whole.value = !whole.value)}>
          {whole.value ? 'fewer fields' : `all ${fields.length} fields`}
        </button>
      )}
      {look?.answer && (
        <p class="written">
          <small class="mute">says </small>
          {value(look.answer['text'] ?? look.answer['translation'] ?? Object.entries(look.answer).filter(([n]) => n !== 'words').map(([n, v]) => `${n} ${typeof v === 'number' ? number(v) : v}`).slice(0, 6).join(', '))}
        </p>
      )}
      {told.attends && (
        <button class="link" onClick={onAttend} aria-label={`attention on sample ${told.index[at]}`}>
          attention
        </button>
      )}
      <a class="inside-link" href={toInside(run.key, { part: told.part, sample: told.index[at]! })} aria-label={`look inside the network at sample ${told.index[at]}`}>
        look inside
      </a>
    </article>
  )
}

function Said({ told, at }: { told: Judged; at: number }) {
  if (!told.truth || !told.said) return null
  if (told.kind === 'numbers')
    return (
      <>
        <span class="tag">said {number(told.said[at]!)}</span>
        <span class="tag">true {number(told.truth[at]!)}</span>
      </>
    )
  const right = told.truth[at] === told.said[at]
  return (
    <>
      <span class={`tag ${right ? 'good' : 'poor'}`}>
        {right ? '✓' : '✕'} said {told.names[told.said[at]!]} {share(told.sure![at]!)}
      </span>
      {!right && (
        <span class="tag">
          true {told.names[told.truth[at]!]} {share(told.right![at]!)}
        </span>
      )}
    </>
  )
}

/** A picture; with what was found in it, and what is there in truth. */
function Boxed({ look, label }: { look: Look; label: string }) {
  const [, height, width] = look.picture!.size
  const side = look.found ? 260 : 112
  const scale = side / Math.max(height, width)
  const box = (x0: number, y0: number, x1: number, y1: number) => ({ x: x0 * width, y: y0 * height, width: (x1 - x0) * width, height: (y1 - y0) * height })
  return (
    <div class="boxed" style={{ width: `${Math.round(width * scale)}px` }}>
      <Pixels picture={look.picture!} label={label} side={side} />
      {look.found && (
        <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={`found: ${look.found.map(([n, s]) => `${n} ${share(s)}`).join(', ') || 'nothing'}; true: ${look.true?.map(([n]) => n).join(', ') || 'nothing'}`}>
          {look.true?.map(([name, ...b], i) => (
            <rect key={i} class="real" {...box(...b)}>
              <title>true: {name}</title>
            </rect>
          ))}
          {look.found.map(([name, s, ...b], i) => (
            <rect key={i} class="told" {...box(...b)}>
              <title>
                {name} {share(s)}
              </title>
            </rect>
          ))}
        </svg>
      )}
      {look.found && <small class="mute">orange: found, dashed: true</small>}
    </div>
  )
}

/** A recording as its spectrogram, with the words where they were heard. */
function Sound({ look }: { look: Look }) {
  const { seconds } = look.sound!
  const words = (look.answer?.['words'] ?? []) as { word: string; start: number; end: number }[]
  return (
    <figure class="sound">
      <Pixels picture={look.sound!} label={`spectrogram of ${seconds.toFixed(1)} seconds, low bands below`} />
      {words.length > 0 && (
        <p class="heard" aria-label="when each word was heard">
          {words.map((w, i) => (
            <span key={i} style={{ left: `${(w.start / seconds) * 100}%`, width: `${(Math.max(w.end - w.start, 0.02) / seconds) * 100}%` }} title={`${w.start.toFixed(2)} to ${w.end.toFixed(2)} s`}>
              {w.word}
            </span>
          ))}
        </p>
      )}
      <figcaption class="mute">{seconds.toFixed(2)} s</figcaption>
    </figure>
  )
}

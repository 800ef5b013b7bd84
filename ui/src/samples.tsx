/** What the network says: its answers at each evaluation, so that they can be seen to grow; and whom it takes for whom. */
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { type About, type Exhibit, samples } from './api'
import { value, whole } from './format'
import { useLoaded } from './loaded'
import { Empty, Trouble } from './parts'
import { Judged } from './says/judged'
import type { Music } from './try/ask'
import { Roll } from './try/roll'

const PLAY = 900 // ms of each evaluation

export function Samples({ run, turn }: { run: About; turn: number }) {
  if (!run.shown && !run.confusion && !run.checkpoints.length)
    return (
      <Empty title="Nothing to look at yet">
        <p>
          {run.state === 'running'
            ? 'Answers of the network appear after an evaluation, every sample can be judged from the first checkpoint on.'
            : 'This task shows no samples, and the run left no confusion matrix.'}
        </p>
      </Empty>
    )
  return (
    <>
      {run.shown > 0 && <Said run={run} turn={turn} />}
      {(run.checkpoints.length > 0 || run.confusion) && <Judged run={run} turn={turn} />}
    </>
  )
}

function Said({ run, turn }: { run: About; turn: number }) {
  const chosen = useSignal<number | null>(null) // none: the last, whatever comes
  const playing = useSignal(false)
  const at = chosen.value ?? run.shown - 1
  const { value: told, error } = useLoaded((s) => samples(run.key, at, s), `${run.key} ${at}`, turn)
  useEffect(() => {
    if (!playing.value) return
    const timer = setTimeout(() => {
      if (at + 1 < run.shown) chosen.value = at + 1
      else playing.value = false
    }, PLAY)
    return () => clearTimeout(timer)
  }, [playing.value, at, run.shown])
  const play = () => {
    if (!playing.value && at >= run.shown - 1) chosen.value = 0
    playing.value = !playing.value
  }
  const of = told?.of[Math.min(at, (told?.of.length ?? 1) - 1)]
  return (
    <section class="card" aria-label="answers of the network">
      <div class="tools">
        <h2>What the network says</h2>
        <button onClick={play} aria-label={playing.value ? 'pause' : 'play from evaluation to evaluation'}>
          {playing.value ? '❚❚' : '▶'}
        </button>
        <input
          type="range"
          aria-label="evaluation"
          min={0}
          max={Math.max(run.shown - 1, 0)}
          value={at}
          onInput={(e) => {
            playing.value = false
            const to = Number(e.currentTarget.value)
            chosen.value = to === run.shown - 1 ? null : to
          }}
        />
        {of && (
          <span class="mute" role="status">
            at step {whole(of.step)}, {of.part}
          </span>
        )}
      </div>
      {error && !told && <Trouble error={error} />}
      <div class="exhibits">{told?.exhibits.map((e, i) => <One key={i} shown={e} />)}</div>
    </section>
  )
}

function One({ shown: { kind, title, data } }: { shown: Exhibit }) {
  return (
    <article class="exhibit">
      <h3>{title}</h3>
      {kind === 'music' && Array.isArray(data['notes']) ? (
        <Roll music={data as unknown as Music} />
      ) : kind === 'text' ? (
        <p class="written">
          <span class="prompt">{value(data['prompt'] ?? '')}</span>
          {'true' in data && <br />}
          {value(data['text'] ?? '')}
          {'true' in data && <span class="wanted">{value(data['true'])}</span>}
        </p>
      ) : (
        <dl class="evidence">
          {Object.entries(data).map(([name, v]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value(v)}</dd>
            </div>
          ))}
        </dl>
      )}
    </article>
  )
}

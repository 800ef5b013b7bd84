/** What the network says: its answers at each evaluation, so that they can be seen to grow; and whom it takes for whom. */
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { type About, confusion, type Exhibit, samples } from './api'
import { value, whole } from './format'
import { useLoaded } from './loaded'
import { Empty, Trouble } from './parts'

const PLAY = 900 // ms of each evaluation

export function Samples({ run, turn }: { run: About; turn: number }) {
  if (!run.shown && !run.confusion)
    return (
      <Empty title="Nothing to look at yet">
        <p>
          {run.state === 'running'
            ? 'Answers of the network appear after an evaluation, the confusion matrix of a classification at the end.'
            : 'This task shows no samples, and the run left no confusion matrix.'}
        </p>
      </Empty>
    )
  return (
    <>
      {run.shown > 0 && <Said run={run} turn={turn} />}
      {run.confusion && <Confusion run={run} turn={turn} />}
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
      {kind === 'text' ? (
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

function Confusion({ run, turn }: { run: About; turn: number }) {
  const { value: told, error } = useLoaded((s) => confusion(run.key, s), run.key, turn)
  const here = useSignal<[number, number] | null>(null)
  if (error && !told) return <Trouble error={error} />
  if (!told) return null
  const { labels, counts } = told
  const total = counts.map((row) => row.reduce((a, b) => a + b, 0))
  const all = total.reduce((a, b) => a + b, 0)
  const right = counts.reduce((sum, row, i) => sum + row[i]!, 0)
  const worst = counts
    .flatMap((row, i) => row.map((n, j) => ({ n, i, j })))
    .filter(({ n, i, j }) => i !== j && n)
    .sort((a, b) => b.n - a.n)
    .slice(0, 8)
  const [i, j] = here.value ?? [-1, -1]
  return (
    <section class="card" aria-label="confusion matrix">
      <h2>Whom it takes for whom</h2>
      <p class="mute" role="status">
        {here.value
          ? `${counts[i]![j]} of ${total[i]} of class ${labels[i]} were called ${labels[j]}`
          : `${whole(right)} of ${whole(all)} right. Rows: true class, columns: said class.`}
      </p>
      <div class="sided">
        {labels.length <= 60 && (
          <div class="scroll" tabIndex={0} role="region" aria-label="confusion matrix, scrollable">
            <table class={`confusion ${labels.length > 20 ? 'dense' : ''}`} onPointerLeave={() => (here.value = null)}>
              <thead>
                <tr>
                  <th scope="col">
                    <span class="unseen">true, said</span>
                  </th>
                  {labels.map((l) => (
                    <th key={l} scope="col" title={l}>
                      {l}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {counts.map((row, r) => (
                  <tr key={r}>
                    <th scope="row" title={labels[r]}>
                      {labels[r]}
                    </th>
                    {row.map((n, c) => (
                      <td
                        key={c}
                        class={`${n === 0 ? 'none' : r === c ? 'right' : 'wrong'} ${n / (total[r] || 1) > 0.55 ? 'strong' : ''}`}
                        style={{ '--share': Math.sqrt(n / (total[r] || 1)).toFixed(3) }}
                        onPointerEnter={() => (here.value = [r, c])}
                      >
                        {n || ''}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        {worst.length > 0 && (
          <div>
            <h3>Most frequent mistakes</h3>
            <ol class="worst">
              {worst.map((w) => (
                <li key={`${w.i} ${w.j}`}>
                  <b>{labels[w.i]}</b> called <b>{labels[w.j]}</b>: {w.n} of {total[w.i]}
                </li>
              ))}
            </ol>
          </div>
        )}
      </div>
    </section>
  )
}

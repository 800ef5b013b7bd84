/** With which options a run was made, how they differ from another run's, its attempts, checkpoints and machine. */
import { useSignal } from '@preact/signals'
import { type About, recipe, runs } from './api'
import { ago, duration, value, whole } from './format'
import { useLoaded } from './loaded'
import { Trouble } from './parts'

export function Recipe({ run }: { run: About }) {
  const other = useSignal('')
  const filter = useSignal('')
  const { value: own, error } = useLoaded((s) => recipe(run.key, s), run.key, run.attempts.length)
  const { value: list } = useLoaded((s) => runs(s), 'others', 0)
  const { value: theirs } = useLoaded(
    async (s) => (other.value ? await recipe(other.value, s) : undefined),
    other.value,
    0,
  )
  if (error && !own) return <Trouble error={error} />
  const keys = own ? [...new Set([...Object.keys(own), ...Object.keys(theirs ?? {})])] : []
  const seen = keys
    .filter((k) => k.toLowerCase().includes(filter.value.toLowerCase()))
    .filter((k) => !theirs || value(own![k]) !== value(theirs[k]))
  return (
    <div class="sheet">
      <section class="card" aria-label="recipe">
        <div class="tools">
          <h2>Recipe</h2>
          <input
            type="search"
            placeholder="filter the keys"
            aria-label="filter the keys"
            value={filter.value}
            onInput={(e) => (filter.value = e.currentTarget.value)}
          />
          <label>
            what differs from{' '}
            <select value={other.value} onChange={(e) => (other.value = e.currentTarget.value)}>
              <option value="">no other run</option>
              {list?.runs.filter((r) => r.key !== run.key).map((r) => (
                <option key={r.key} value={r.key}>
                  {r.name}
                </option>
              ))}
            </select>
          </label>
        </div>
        {theirs && !seen.length && <p>The two recipes are the same.</p>}
        {own && seen.length > 0 && (
          <table class="recipe">
            <thead>
              <tr>
                <th scope="col">key</th>
                <th scope="col">{theirs ? run.name : 'value'}</th>
                {theirs && <th scope="col">{list?.runs.find((r) => r.key === other.value)?.name}</th>}
              </tr>
            </thead>
            <tbody>
              {seen.map((k) => (
                <tr key={k}>
                  <th scope="row">{k}</th>
                  <td>{k in own ? value(own[k]) : '–'}</td>
                  {theirs && <td>{k in theirs ? value(theirs[k]) : '–'}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </section>
      <div>
        <Attempts run={run} />
        <Facts run={run} />
      </div>
    </div>
  )
}

function Attempts({ run }: { run: About }) {
  return (
    <section class="card" aria-label="attempts and checkpoints">
      <h2>Attempts</h2>
      <ol class="attempts">
        {run.attempts.map((a) => (
          <li key={a.attempt} value={a.attempt}>
            from step {whole(a.from_step)} <span class="mute">· {ago(a.time)}</span>
            {a.note && <small>{a.note}</small>}
          </li>
        ))}
      </ol>
      <h2>Checkpoints that were saved</h2>
      {run.checkpoints.length ? (
        <ul class="attempts">
          {run.checkpoints.toReversed().slice(0, 12).map((c) => (
            <li key={c.path}>
              step {whole(c.step)}
              {c.step === run.best_step ? ' ★' : ''} <span class="mute">· in {duration(c.seconds)}</span>
            </li>
          ))}
        </ul>
      ) : (
        <p class="mute">none yet</p>
      )}
    </section>
  )
}

function Facts({ run }: { run: About }) {
  return (
    <section class="card" aria-label="machine and data">
      <h2>Made with</h2>
      <table class="recipe">
        <tbody>
          {Object.entries(run.facts)
            .filter(([, v]) => v !== '' && v !== null)
            .map(([k, v]) => (
              <tr key={k}>
                <th scope="row">{k}</th>
                <td>{value(v)}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </section>
  )
}

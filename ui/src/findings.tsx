/** What was found wrong: what, where, since when, by which numbers, what it does, and what to write instead. */
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { About, Finding, Fix, Repair, Severity, Tried } from './api'
import { finite, number, value, whole } from './format'
import { Empty, SeveritySign } from './parts'
import { place } from './place'

const RANK: Record<Severity, number> = { error: 0, warning: 1, note: 2 }

export function Findings({ run }: { run: About }) {
  const found = run.found.map((f, i) => ({ ...f, i })).sort((a, b) => RANK[a.severity] - RANK[b.severity] || a.step - b.step)
  const at = place.value.at === 'run' ? place.value.query.get('at') : null
  useEffect(() => {
    const card = document.getElementById(`found-${at}`)
    card?.scrollIntoView({ block: 'center' })
    card?.focus({ preventScroll: true })
  }, [at])
  if (!found.length && !run.skipped.length && !run.unreadable)
    return (
      <Empty title="Nothing was found wrong">
        <p>What a check finds before, while and after the training appears here, with its evidence and what to do.</p>
      </Empty>
    )
  return (
    <div class="findings">
      {found.map((f) => (
        <Card key={f.i} id={`found-${f.i}`} here={at === String(f.i)} found={f} tried={run.tried.filter((t) => t.rule === f.rule)} repairs={run.repairs.filter((r) => r.rule === f.rule)} />
      ))}
      {run.skipped.length > 0 && <Skipped run={run} />}
      {run.unreadable > 0 && (
        <article class="card finding warning">
          <h2>
            <SeveritySign severity="warning" /> {run.unreadable} lines of events.jsonl cannot be read
          </h2>
        </article>
      )}
    </div>
  )
}

interface CardProps {
  id: string
  here: boolean
  found: Finding
  tried: Tried[]
  repairs: Repair[]
}

function Card({ id, here, found: f, tried, repairs }: CardProps) {
  return (
    <article id={id} tabIndex={-1} class={`card finding ${f.severity} ${here ? 'here' : ''}`}>
      <h2>
        <SeveritySign severity={f.severity} /> {f.what}
      </h2>
      <p class="mute">
        {f.rule} · {f.where && <>{f.where} · </>}
        {f.step ? `at step ${whole(f.step)}` : 'before the first step'}
      </p>
      {f.why && <p>{f.why}</p>}
      {Object.keys(f.evidence).length > 0 && (
        <dl class="evidence">
          {Object.entries(f.evidence).map(([name, v]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{number(v)}</dd>
            </div>
          ))}
        </dl>
      )}
      {f.fixes.length > 0 && (
        <>
          <h3>What to do</h3>
          <ol class="fixes">
            {f.fixes.map((fix, i) => (
              <li key={i}>
                <Remedy fix={fix} />
              </li>
            ))}
          </ol>
        </>
      )}
      {tried.map((t, i) => (
        <Trial key={i} tried={t} />
      ))}
      {repairs.map((r, i) => (
        <p key={i} class="repair">
          <b>{r.state}</b>: {r.what}, from step {whole(r.step)}. {r.why}
        </p>
      ))}
    </article>
  )
}

/** Ways to go on from one state: the loss of each, with the standard error of its difference to no change. */
function Trial({ tried: t }: { tried: Tried }) {
  const seen = t.branches.map((b) => finite(b.loss)).filter(isFinite)
  const most = Math.max(...seen)
  return (
    <section class="trial" aria-label="trial">
      <h3>
        What happened when it was tried, from step {whole(t.start)}, {whole(t.steps)} steps each
      </h3>
      {t.text && <p>{t.text}</p>}
      <table class="bars">
        <tbody>
          {t.branches.map((b) => (
            <tr key={b.what} class={b.what === t.won ? 'won' : ''}>
              <th scope="row">
                {b.what}
                {b.what === t.won && ' ✓'}
              </th>
              <td class="lane">{isFinite(finite(b.loss)) && <i style={{ width: `${(finite(b.loss) / most) * 100}%` }} />}</td>
              <td>{b.trouble || `${number(b.loss)}${finite(b.error) ? ` ± ${number(b.error)}` : ''}`}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="mute small">loss on {t.judge}; the shorter, the better</p>
    </section>
  )
}

function Remedy({ fix }: { fix: Fix }) {
  const copied = useSignal(false)
  if (fix.kind !== 'patch') return <>{fix.text}</>
  const text = Object.entries(fix.changes)
    .map(([key, v]) => `${key} = ${typeof v === 'string' ? JSON.stringify(v) : value(v)}`)
    .join('\n')
  const copy = async () => {
    await navigator.clipboard.writeText(text)
    copied.value = true
    setTimeout(() => (copied.value = false), 1500)
  }
  return (
    <span class="patch">
      <code>{text}</code>
      <button class="quiet" onClick={copy}>
        {copied.value ? 'copied' : 'copy'}
      </button>
    </span>
  )
}

function Skipped({ run }: { run: About }) {
  return (
    <article id="found-skipped" tabIndex={-1} class="card finding error">
      <h2>
        <SeveritySign severity="error" />{' '}
        {run.skipped.length === 1 ? 'One step was not taken' : `${run.skipped.length} steps were not taken`}: loss or
        gradient was not finite
      </h2>
      <ul>
        {run.skipped.slice(0, 20).map((s) => (
          <li key={s.step}>
            step {whole(s.step)}: {s.what}
            {s.places.length > 0 && <span class="mute"> · {s.places.join(', ')}</span>}
            {s.incident && <span class="mute"> · kept in {s.incident}, see `trainwright replay`</span>}
          </li>
        ))}
      </ul>
    </article>
  )
}

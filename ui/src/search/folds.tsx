/** A cross-validation: the score of every fold, their mean with its interval, and what simple models reach. */
import { finite, number } from '../format'
import { toRun } from '../place'
import type { Folds } from './ask'

const [WIDE, LEFT, RIGHT, ROW] = [640, 130, 140, 26] // the right one holds two numbers

export function FoldsView({ folds }: { folds: Folds }) {
  const metrics = [...new Set([...Object.keys(folds.scores), ...folds.runs.flatMap((r) => Object.keys(r.scores))])].filter((m) => m.startsWith('test/'))
  const ran = folds.runs
  return (
    <>
      <p class="mute">
        {folds.folds} folds{folds.repeats > 1 && `, ${folds.repeats} times`}: each record is judged by a network that was not trained on it.
        {!folds.ended && ' The result is told when the last fold has ended; each fold is a run of its own in the list.'}
      </p>
      {metrics.map((m) => (
        <Metric key={m} folds={folds} name={m} />
      ))}
      {Object.entries(folds.failed).map(([name, why]) => (
        <p key={name} class="trouble">
          {name}: {why}
        </p>
      ))}
      {ran.length > 0 && (
        <section class="card" aria-label="folds">
          <h2>Folds</h2>
          <div class="scroll" tabIndex={0} role="region" aria-label="folds, scrollable">
            <table>
              <thead>
                <tr>
                  <th scope="col">fold</th>
                  <th scope="col">state</th>
                  {metrics.map((m) => (
                    <th scope="col" key={m}>
                      {m.slice(5)}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {ran.map((r) => (
                  <tr key={r.name}>
                    <th scope="row">
                      <a href={toRun(r.key)}>{r.name}</a>
                    </th>
                    <td>{r.state}</td>
                    {metrics.map((m) => (
                      <td key={m}>{number(r.scores[m])}</td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
    </>
  )
}

function Metric({ folds, name }: { folds: Folds; name: string }) {
  const short = name.slice(5)
  const own = folds.scores[name]
  const rows = [
    ...(own ? [{ label: 'network', mean: own, dots: folds.runs.map((r) => finite(r.scores[name])).filter(isFinite) }] : []),
    ...Object.entries(folds.baselines).flatMap(([label, of]) => (of[short] ? [{ label, mean: of[short], dots: [] as number[] }] : [])),
  ]
  const all = rows.flatMap((r) => [finite(r.mean.low), finite(r.mean.high), ...r.dots]).filter(isFinite)
  if (!all.length) return null
  const [low, high] = [Math.min(...all), Math.max(...all)]
  const x = (v: number) => LEFT + ((v - low) / (high - low || 1)) * (WIDE - LEFT - RIGHT)
  const tall = rows.length * ROW + 8
  return (
    <section class="card" aria-label={short}>
      <h2>{short}</h2>
      <svg class="folds" viewBox={`0 0 ${WIDE} ${tall}`} role="img" aria-label={rows.map((r) => `${r.label} ${number(r.mean.mean)}, interval ${number(r.mean.low)} to ${number(r.mean.high)}`).join('; ')}>
        {rows.map((r, i) => {
          const y = i * ROW + ROW / 2 + 2
          return (
            <g key={r.label} class={i ? 'simple' : 'own'}>
              <text x={LEFT - 10} y={y + 4} text-anchor="end">
                {r.label}
              </text>
              <line x1={x(finite(r.mean.low))} x2={x(finite(r.mean.high))} y1={y} y2={y} />
              {r.dots.map((d, k) => (
                <circle key={k} class="dot" cx={x(d)} cy={y} r={3} />
              ))}
              <circle cx={x(finite(r.mean.mean))} cy={y} r={5} />
              <text x={WIDE - RIGHT + 10} y={y + 4}>
                {number(r.mean.mean)} ± {number(r.mean.deviation)}
              </text>
            </g>
          )
        })}
      </svg>
      <p class="mute small">Lines are 95 % intervals of the mean, small dots the folds.</p>
    </section>
  )
}

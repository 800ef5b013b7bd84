/** Whom the network takes for whom: rows are true classes, columns what was said; a cell opens its samples. */
import { useSignal } from '@preact/signals'
import { whole } from '../format'

const MOST = 60 // classes of a table

interface Props {
  labels: string[]
  counts: number[][]
  onCell?: (truth: number, said: number) => void
}

export function Matrix({ labels, counts, onCell }: Props) {
  const here = useSignal<[number, number] | null>(null)
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
    <>
      <p class="mute" role="status">
        {here.value
          ? `${counts[i]![j]} of ${total[i]} of class ${labels[i]} were called ${labels[j]}`
          : `${whole(right)} of ${whole(all)} right. Rows: true class, columns: said class.${onCell ? ' Choose a cell to see its samples.' : ''}`}
      </p>
      <div class="sided">
        {labels.length <= MOST && (
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
                        {onCell && n ? (
                          <button class="cell" aria-label={`${n} of class ${labels[r]} called ${labels[c]}`} onClick={() => onCell(r, c)}>
                            {n}
                          </button>
                        ) : (
                          n || ''
                        )}
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
                  <b>{labels[w.i]}</b> called <b>{labels[w.j]}</b>:{' '}
                  {onCell ? (
                    <button class="link" onClick={() => onCell(w.i, w.j)}>
                      {w.n} of {total[w.i]}
                    </button>
                  ) : (
                    `${w.n} of ${total[w.i]}`
                  )}
                </li>
              ))}
            </ol>
          </div>
        )}
      </div>
    </>
  )
}

/** A cell: its numbers, and the arithmetic that made one of them, term by term; each term leads to where it comes from. */
import { finite } from '../format'
import type { Cell, Node, Step, What } from './ask'
import { exact, placeOf } from './words'

const SAID: Record<What, string> = { value: 'How this number was made', gradient: 'How its gradient comes about', change: 'How the optimizer moved it' }

export function Card({ cell, step, walk, choose, pinned }: {
  cell: Cell
  step: Step
  walk: (node: number, cell: number) => void
  choose: (what: What) => void
  pinned: boolean
}) {
  const nodes = new Map(step.nodes.map((n) => [n.id, n]))
  const node = nodes.get(cell.node)!
  const kinds = (['value', 'gradient', 'change'] as const).filter((k) => k === 'value' || node[k])
  return (
    <section class="cellcard" aria-label="cell">
      <h2>
        {node.title}
        <small>{placeOf(node, cell.at, step)}</small>
      </h2>
      <div class="three" role="group" aria-label="what is explained">
        {kinds.map((kind) => (
          <button key={kind} aria-pressed={cell.what === kind} onClick={() => choose(kind)} disabled={!pinned} title={SAID[kind]}>
            <small>{kind}</small>
            <b class={finite(cell[kind]) < 0 ? 'minus' : 'plus'}>{exact(cell[kind])}</b>
          </button>
        ))}
      </div>
      <p class="formula">
        = {cell.formula}
        {cell.agrees !== null && (
          <span class={cell.agrees ? 'good' : 'poor'} title={`worked out again in float64: ${exact(cell.again)}`}>
            {cell.agrees ? ' ✓' : ` ✕ comes to ${exact(cell.again)}`}
          </span>
        )}
      </p>
      {cell.steps.length > 0 && (
        <table class="sums">
          <tbody>
            {cell.steps.map(([said, value], i) => (
              <tr key={i}>
                <th scope="row">{said}</th>
                <td>{exact(value)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {cell.terms.length > 0 && (
        <div class="terms" tabIndex={0} role="region" aria-label="terms">
          <table>
            <thead>
              <tr>
                <th scope="col">{cell.of > cell.terms.length ? `the ${cell.terms.length} largest of ${cell.of}` : `${cell.of} term${cell.of > 1 ? 's' : ''}`}</th>
                <th scope="col">adds</th>
              </tr>
            </thead>
            <tbody>
              {cell.terms.map((t, i) => (
                <tr key={i}>
                  <td>
                    {t.cells.map(([id, at], j) => (
                      <span key={j}>
                        {j > 0 && ' × '}
                        <Factor node={nodes.get(id)} cell={at} value={exact(t.numbers[j])} step={step} walk={walk} live={pinned} />
                      </span>
                    ))}
                  </td>
                  <td class={finite(t.value) < 0 ? 'minus' : 'plus'}>{exact(t.value)}</td>
                </tr>
              ))}
              {cell.of > cell.terms.length && (
                <tr>
                  <td class="mute">the other {cell.of - cell.terms.length}</td>
                  <td>{exact(cell.rest)}</td>
                </tr>
              )}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}

function Factor({ node, cell, value, step, walk, live }: {
  node: Node | undefined
  cell: number
  value: string
  step: Step
  walk: (node: number, cell: number) => void
  live: boolean
}) {
  if (!node) return <span>{value}</span>
  const title = `${node.title}: ${placeOf(node, spread(cell, node.shape), step)}`
  return live ? (
    <button class="factor" title={title} aria-label={`${value}, go to ${title}`} onClick={() => walk(node.id, cell)}>
      {value}
    </button>
  ) : (
    <span title={title}>{value}</span>
  )
}

export function spread(flat: number, shape: number[]): number[] {
  const out: number[] = []
  for (const n of [...shape].reverse()) {
    out.unshift(flat % n)
    flat = Math.floor(flat / n)
  }
  return out
}

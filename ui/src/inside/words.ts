/** Where a cell is, in words; and numbers as they are written here. */
import { finite } from '../format'
import type { Number as Told } from '../api'
import type { Node, Step } from './ask'

export function exact(value: Told | undefined): string {
  if (value === null || value === undefined) return '–'
  const x = finite(value)
  if (!isFinite(x)) return Number.isNaN(x) ? 'nothing' : x > 0 ? '∞' : '−∞'
  const size = Math.abs(x)
  const text = !size ? '0' : size < 1e-4 || size >= 1e6 ? x.toExponential(5).replace('e+', 'e') : String(+x.toPrecision(6))
  return text.replace(/-/g, '−')
}

export const short = (x: number): string => {
  const size = Math.abs(x)
  if (Number.isNaN(x)) return '·'
  if (!size) return '0'
  return (size < 0.005 || size >= 1e4 ? x.toExponential(0).replace('e+', 'e') : x.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0)).replace(/-/g, '−')
}

export const token = (text: string | undefined) =>
  text === undefined ? '' : `“${text.replace(/\n/g, '⏎').replace(/ /g, '␣') || '∅'}”`

/** Names of the axes of a cell. */
export function placeOf(node: Node, at: number[], step: Step): string {
  const shape = node.shape
  let [axes, where] = [shape, at]
  while (axes.length > 1 && axes[0] === 1 && node.kind !== 'weight') [axes, where] = [axes.slice(1), where.slice(1)]
  const last = where[where.length - 1] ?? 0
  const tokens = step.tokens
  const of = (i: number | undefined) => (i === undefined ? '' : tokens[i] !== undefined ? `token ${token(tokens[i])}, place ${i}` : `row ${i}`)
  if (node.kind === 'weight') {
    if (shape.length === 4) return `kernel ${at[0]}, of map ${at[1]}, row ${at[2]}, column ${at[3]}`
    if (shape.length === 2) return `row ${at[0]}, column ${at[1]}: to output ${at[0]}, from input ${at[1]}`
    return `number ${last}`
  }
  if (node.op === 'scores' || node.op === 'attention')
    return `head ${where.length > 2 ? where[0] : 0}: ${token(tokens[where[where.length - 2]!]) || where[where.length - 2]} looks at ${token(tokens[last]) || last}`
  const named = (node.title === 'logits' || node.title === 'probabilities') && step.classes[last] !== undefined
  const name = named ? (tokens.length ? `next ${token(step.classes[last])}` : `class ${step.classes[last]}`) : ''
  if (node.picture) return `map ${where[0]}, row ${where[1]}, column ${where[2]}`
  if (axes.length === 1 && tokens.length === axes[0]) return of(last)
  if (axes.length === 1) return name || `number ${last}`
  if (axes.length === 2) return `${of(where[0])}; ${name || `number ${last}`}`
  return `head ${where[0]}, ${of(where[1])}; number ${last}`
}

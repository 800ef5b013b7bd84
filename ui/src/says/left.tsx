/** The confusion matrix that a run left in its folder. */
import { type About, confusion } from '../api'
import { useLoaded } from '../loaded'
import { Trouble } from '../parts'
import { Matrix } from './matrix'

export function Left({ run, turn }: { run: About; turn: number }) {
  const { value: told, error } = useLoaded((s) => confusion(run.key, s), run.key, turn)
  if (error && !told) return <Trouble error={error} />
  if (!told) return null
  return (
    <>
      <h2>Whom it takes for whom</h2>
      <Matrix labels={told.labels} counts={told.counts} />
    </>
  )
}

/** A text of a person's own in a language model; and the token that it would write, fed back in. */
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { tried } from '../try/ask'

interface Props {
  id: string
  text: string
  seen: string[] // the tokens that are looked at
  onText: (text: string) => void
}

export function Own({ id, text, seen, onText }: Props) {
  const typed = useSignal(text)
  const said = useSignal('')
  const busy = useSignal(false)
  useEffect(() => {
    typed.value = text
  }, [text])
  const feed = async () => {
    busy.value = true
    said.value = ''
    const before = typed.value || seen.join('')
    try {
      const told = await tried(id, { give: 'prompt', prompt: before, tokens: 1, seed: Math.floor(Math.random() * 1e6) })
      if (told.text) onText(before + told.text)
      else said.value = 'it ends the text here'
    } catch (error) {
      said.value = (error as Error).message
    }
    busy.value = false
  }
  return (
    <form
      class="own"
      onSubmit={(e) => {
        e.preventDefault()
        onText(typed.value)
      }}
    >
      <input aria-label="a text of your own" placeholder="a text of your own" value={typed.value} onInput={(e) => (typed.value = e.currentTarget.value)} />
      <button type="submit">look at it</button>
      <button type="button" onClick={feed} disabled={busy.value} title="the network writes one token, by the weights that it serves, and is looked at with it">
        {busy.value ? 'writing …' : 'feed its next token back in'}
      </button>
      {text && (
        <button type="button" onClick={() => onText('')}>
          the sample again
        </button>
      )}
      {said.value && <span class="mute" role="status">{said.value}</span>}
    </form>
  )
}

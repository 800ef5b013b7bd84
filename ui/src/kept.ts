/** What a browser remembers of a person's choices. */
import { effect, signal, type Signal } from '@preact/signals'

export function kept<T extends string | number | boolean>(name: string, usual: T): Signal<T> {
  const found = signal<T>(usual)
  try {
    const text = localStorage.getItem(`trainwright.${name}`)
    if (text !== null) {
      const read: unknown = JSON.parse(text)
      if (typeof read === typeof usual) found.value = read as T
    }
  } catch {
    /* a browser that remembers nothing, or something of another version */
  }
  effect(() => {
    try {
      localStorage.setItem(`trainwright.${name}`, JSON.stringify(found.value))
    } catch {
      /* likewise */
    }
  })
  return found
}

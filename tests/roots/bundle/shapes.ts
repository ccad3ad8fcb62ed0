export type Shape = { kind: 'square'; side: number } | { kind: 'circle'; radius: number };

export const area = (s: Shape): number => (s.kind === 'square' ? s.side ** 2 : Math.round(Math.PI * s.radius ** 2));

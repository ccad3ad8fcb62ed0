// main.ts is bundled with what it imports, and required by a function.
import { z } from 'zod';
import { area, type Shape } from './shapes';

const Order = z.object({ id: z.number().int(), items: z.array(z.string()).min(1) });

enum Colour { Red = 1, Blue }

export function answer(): unknown {
  const shapes: Shape[] = [{ kind: 'square', side: 3 }, { kind: 'circle', radius: 2 }];
  return [shapes.map(area), Order.safeParse({ id: 1, items: ['a'] }).success, Order.safeParse({ id: 1.5, items: [] }).success, Colour[2]];
}

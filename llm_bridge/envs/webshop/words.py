"""Words that the generated catalogue is made of: invented brands, plain products, no text of any shop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ASK", "BRANDS", "CHOICES", "DEPARTMENTS", "PHRASES", "TAILS", "Department", "Type"]


@dataclass(frozen=True)
class Type:
    """A kind of product: the words that a shopper would search for, its shelf, prices in dollars, what can vary."""

    query: str
    shelf: str
    cheapest: int
    dearest: int
    options: tuple[str, ...]


@dataclass(frozen=True)
class Department:
    """A category: its path's root, the words of its titles, and the attributes its products may have."""

    root: str
    looks: tuple[str, ...]
    uses: tuple[str, ...]
    attributes: tuple[str, ...]
    types: tuple[Type, ...]


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _types(text: str) -> tuple[Type, ...]:
    rows = [_split(line) for line in text.strip().splitlines()]
    return tuple(Type(row[0], row[1], int(row[2]), int(row[3]), row[4:]) for row in rows)


BRANDS = (
    _split("Ad, Bel, Cor, Dru, El, Fen, Gal, Hol, Il, Jor, Kel, Lum, Mor, Nel, Or, Pel, Quil, Ren, Sol, Tam, Ul, Vel"),
    _split("vano, dria, mont, lisk, thal, nova, rix, bran, mera, dell, pora, quist, zeno, farn, wick, lora"),
)
"""First and second halves of brand names."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "color": _split(
        "black, white, navy blue, light blue, red, wine red, grey, dark grey, olive green, mint green, beige, pink, "
        "purple, yellow, orange, teal, brown, ivory"
    ),
    "size": _split("x-small, small, medium, large, x-large, xx-large, 3x-large"),
    "item dimensions": _split("16x16 in, 18x18 in, 20x20 in, 24x36 in, 30x40 in, 40x60 in, 2x3 ft, 4x6 ft, 5x8 ft"),
    "flavor name": _split(
        "vanilla, dark chocolate, sea salt, maple, hot pepper, lemon, mixed berry, peanut butter, cinnamon, original"
    ),
    "scent": _split("lavender, unscented, cedar wood, green tea, citrus, rose, eucalyptus, coconut"),
    "capacity": _split("16gb, 32gb, 64gb, 128gb, 256gb, 512gb"),
    "style": _split("classic, modern, slim, wide, left hand, right hand, travel, deluxe"),
    "number of items": _split("1 count, 2 count, 4 count, 6 count, 12 count, 24 count"),
    "weight": _split("4 ounce, 8 ounce, 12 ounce, 1 pound, 2 pound, 5 pound"),
    "length": _split("3 feet, 6 feet, 10 feet, 15 feet, 25 feet"),
}
"""Values that an option may offer."""

DEPARTMENTS: Mapping[str, Department] = {
    "beauty": Department(
        "Beauty & Personal Care",
        _split("Gentle, Daily, Botanical, Silky, Pure, Bright, Calming, Deep, Fresh, Soft"),
        _split("Dry Skin, Travel, Curly Hair, Night Care, Sensitive Skin, Salon Use, Men and Women"),
        _split(
            "paraben free, cruelty free, long lasting, alcohol free, fragrance free, easy to use, dermatologist "
            "tested, travel size, high quality, natural ingredients, sulfate free, water resistant"
        ),
        _types("""
            face cream, Skin Care › Face, 8, 60, scent, weight
            hair brush, Hair Care › Styling Tools, 6, 30, color, style
            lip balm, Makeup › Lips, 3, 18, flavor name, number of items
            body lotion, Skin Care › Body, 6, 40, scent, weight
            nail polish, Foot Hand & Nail Care › Nails, 4, 20, color
            shampoo, Hair Care › Shampoo, 7, 35, scent, number of items
            bath sponge, Bath & Bathing Accessories › Sponges, 4, 16, color, number of items
            makeup bag, Makeup › Bags & Cases, 9, 45, color, style
        """),
    ),
    "electronics": Department(
        "Electronics",
        _split("Compact, Portable, Wireless, Smart, Ultra Slim, Rugged, Clear, Rapid, Dual, Foldable"),
        _split("Home Office, Travel, Tablets, Laptops, Gaming, Video Calls, Car Trips"),
        _split(
            "fast charging, noise cancelling, plug and play, high speed, easy to install, water resistant, heavy duty, "
            "hands free, long lasting battery, high resolution, gold plated, ultra light"
        ),
        _types("""
            charging cable, Accessories & Supplies › Cables, 5, 30, color, length
            phone case, Cell Phones & Accessories › Cases, 6, 40, color, style
            desk speaker, Home Audio › Speakers, 18, 140, color
            memory card, Computers & Accessories › Memory Cards, 8, 90, capacity
            ear buds, Headphones › Earbud Headphones, 12, 150, color, style
            screen protector, Cell Phones & Accessories › Screen Protectors, 5, 22, number of items
            web camera, Computers & Accessories › Webcams, 20, 120, color
            tablet stand, Computers & Accessories › Stands, 9, 55, color, style
        """),
    ),
    "fashion": Department(
        "Clothing Shoes & Jewelry",
        _split("Casual, Relaxed, Cozy, Classic, Knitted, Lightweight, Striped, Sporty, Vintage, Soft"),
        _split("Women, Men, Girls, Boys, Work, Holidays, Hiking, Everyday Wear"),
        _split(
            "machine wash, hand wash, slim fit, regular fit, quick drying, moisture wicking, stretch fabric, elastic "
            "waist, long sleeve, short sleeve, rubber sole, button closure"
        ),
        _types("""
            rain jacket, Jackets & Coats › Rain Wear, 25, 130, color, size
            t-shirt, Shirts & Tees › Tops, 8, 35, color, size
            yoga pants, Active › Pants, 14, 70, color, size, style
            running shoes, Shoes › Athletic, 30, 160, color, size
            wool socks, Socks & Hosiery › Socks, 6, 28, color, number of items
            winter scarf, Accessories › Scarves, 8, 45, color
            denim skirt, Skirts › Casual, 15, 65, color, size
            canvas belt, Accessories › Belts, 7, 32, color, size
        """),
    ),
    "garden": Department(
        "Home & Kitchen",
        _split("Rustic, Modern, Handmade, Sturdy, Round, Folding, Minimalist, Large, Nordic, Cozy"),
        _split("Living Room, Bedroom, Patio, Dining Room, Small Spaces, Guest Room, Balcony"),
        _split(
            "easy to clean, easy to assemble, machine washable, stainless steel, solid wood, space saving, eco "
            "friendly, non slip, heavy duty, double sided, dishwasher safe, energy efficient"
        ),
        _types("""
            throw pillow cover, Bedding › Decorative Pillows, 6, 40, color, item dimensions
            table lamp, Lighting › Lamps, 18, 120, color, style
            area rug, Home Decor › Rugs, 20, 240, color, item dimensions
            storage basket, Storage & Organization › Baskets, 9, 60, color, number of items
            coffee mug, Kitchen & Dining › Mugs, 6, 28, color, number of items
            window curtain, Home Decor › Curtains, 14, 90, color, item dimensions
            bar stool, Furniture › Stools, 45, 320, color, style
            scented candle, Home Decor › Candles, 7, 38, scent, number of items
        """),
    ),
    "grocery": Department(
        "Grocery & Gourmet Food",
        _split("Crunchy, Roasted, Organic Farm, Creamy, Smoked, Old Style, Hearty, Baked, Sun Dried, Stone Ground"),
        _split("Breakfast, Snacking, Lunch Boxes, Baking, Sharing, Gift Baskets"),
        _split(
            "gluten free, low sugar, non gmo, dairy free, high protein, individually wrapped, keto friendly, certified "
            "organic, no artificial colors, plant based, low sodium, ready to eat"
        ),
        _types("""
            granola bars, Snack Foods › Bars, 4, 32, flavor name, number of items
            ground coffee, Beverages › Coffee, 8, 45, flavor name, weight
            herbal tea, Beverages › Tea, 5, 28, flavor name, number of items
            trail mix, Snack Foods › Nuts, 6, 36, flavor name, weight
            hot sauce, Sauces & Gravies › Sauces, 4, 22, flavor name, number of items
            oat cookies, Breads & Bakery › Cookies, 5, 26, flavor name, number of items
            almond butter, Jams & Spreads › Nut Butters, 7, 30, flavor name, weight
            rice crackers, Snack Foods › Crackers, 4, 24, flavor name, number of items
        """),
    ),
}

ASK = (
    "i am looking for {thing}",
    "i need {thing}",
    "find me {thing}",
    "i want to buy {thing}",
    "i would like {thing}",
    "show me {thing}",
    "please help me find {thing}",
    "can you get me {thing}",
)
"""How a request begins."""

TAILS = ("", "", " for my sister", " as a gift", " that i can order today", " for the weekend")
"""How it may end."""

PHRASES: Mapping[str, tuple[str, ...]] = {
    "color": ("in {}", "in the color {}", "that comes in {}"),
    "size": ("in size {}", "in a {} size"),
    "item dimensions": ("that measures {}", "in {}"),
    "flavor name": ("in {} flavor", "with the flavor {}"),
    "scent": ("with a {} scent", "in the scent {}"),
    "capacity": ("with {}", "with {} of space"),
    "style": ("in {} style", "in the style {}"),
    "number of items": ("in a pack of {}", "with {}"),
    "weight": ("in {} size", "weighing {}"),
    "length": ("that is {} long", "of {}"),
}
"""How a request names an option's value."""
